import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.HexFormat;
import java.util.Objects;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.types.RawTaggedField;

/**
 * Turns messages in Kafka's JSON form into bytes by Kafka's own generated classes, and the objects back into JSON.
 *
 * Each line of the input is {"class", "version", "unknownTags", "json"}; each line of the output {"bytes" (hex), "json"}.
 * "unknownTags" adds two tagged fields that no schema has to the message and to every struct in it.
 */
public final class Golden {
    private static final String PACKAGE = "org.apache.kafka.common.message.";

    public static void main(String[] args) throws Exception {
        ObjectMapper mapper = new ObjectMapper();
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonNode order = mapper.readTree(line);
            try {
                out.print(mapper.writeValueAsString(answer(mapper, order)) + "\n");
            } catch (ReflectiveOperationException | RuntimeException failure) {
                System.err.println(line);
                failure.printStackTrace();
                System.exit(1);
            }
        }
        out.flush();
    }

    private static ObjectNode answer(ObjectMapper mapper, JsonNode order) throws Exception {
        String name = order.get("class").asText();
        short version = (short) order.get("version").asInt();
        Class<?> dataClass = Class.forName(PACKAGE + name);
        Class<?> converter = Class.forName(PACKAGE + name + "JsonConverter");
        Message message = (Message) converter.getMethod("read", JsonNode.class, short.class)
            .invoke(null, order.get("json"), version);
        if (order.get("unknownTags").asBoolean()) addUnknownTags(message);
        ByteBuffer bytes = MessageUtil.toByteBufferAccessor(message, version).buffer();
        ObjectNode result = mapper.createObjectNode();
        result.put("bytes", HexFormat.of().formatHex(MessageUtil.byteBufferToArray(bytes)));
        result.set("json", (JsonNode) converter.getMethod("write", dataClass, short.class).invoke(null, message, version));
        return result;
    }

    /** A struct that still has its default is left alone: it may not exist in the version. */
    private static void addUnknownTags(Object value) throws ReflectiveOperationException {
        if (value instanceof Collection<?> elements) {
            for (Object element : elements) addUnknownTags(element);
        } else if (value instanceof Message message) {
            Message unset = message.getClass().getDeclaredConstructor().newInstance();
            for (Field field : message.getClass().getDeclaredFields()) {
                if (Modifier.isStatic(field.getModifiers())) continue;
                field.setAccessible(true);
                if (!Objects.equals(field.get(message), field.get(unset))) addUnknownTags(field.get(message));
            }
            message.unknownTaggedFields().add(new RawTaggedField(100, new byte[] {1, 2, 3}));
            message.unknownTaggedFields().add(new RawTaggedField(70000, new byte[0]));
        }
    }
}
