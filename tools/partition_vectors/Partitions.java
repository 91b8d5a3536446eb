import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Scanner;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;

/** Reads lines "hex count" and prints the partition that the Java client chooses for each key. */
public class Partitions {
    public static void main(String[] arguments) {
        Scanner lines = new Scanner(System.in, StandardCharsets.UTF_8);
        while (lines.hasNextLine()) {
            String[] fields = lines.nextLine().split(" ", -1);
            byte[] key = HexFormat.of().parseHex(fields[0]);
            System.out.println(BuiltInPartitioner.partitionForKey(key, Integer.parseInt(fields[1])));
        }
    }
}
