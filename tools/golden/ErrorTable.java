import java.util.TreeMap;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.errors.InvalidMetadataException;
import org.apache.kafka.common.errors.RefreshRetriableException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.protocol.Errors;

/** Prints one line per error code of Kafka's own table: code, name, retriable, invalid metadata, refresh, message. */
public final class ErrorTable {
    public static void main(String[] args) {
        TreeMap<Short, Errors> byCode = new TreeMap<>();
        for (Errors error : Errors.values()) byCode.put(error.code(), error);
        for (Errors error : byCode.values()) {
            ApiException exception = error.exception();
            System.out.println(String.join("\t",
                Short.toString(error.code()),
                error.name(),
                Boolean.toString(exception instanceof RetriableException),
                Boolean.toString(exception instanceof InvalidMetadataException),
                Boolean.toString(exception instanceof RefreshRetriableException),
                exception == null ? "" : error.message()));
        }
    }
}
