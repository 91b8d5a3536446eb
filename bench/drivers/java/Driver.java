import com.sun.management.OperatingSystemMXBean;
import java.io.InputStream;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.Future;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The Java client's driver; drivers/shared.py says what shape it has. */
final class Driver {
    private static final int LINGER_MS = 5;
    private static final int BATCH_BYTES = 1_000_000;
    private static final int WARM_UP = 10_000;
    private static final Duration TIMEOUT = Duration.ofSeconds(120);

    private final Map<String, String> job = new HashMap<>();
    private final String topic;
    private final int messages;
    private final byte[][] values;
    private long before;
    private long cpuBefore;

    private Driver(String json) {
        // The job is one flat object of names, numbers and plain strings: no JSON library is needed.
        Matcher field = Pattern.compile("\"(\\w+)\": (?:\"([^\"]*)\"|([^,}]+))").matcher(json);
        while (field.find()) {
            job.put(field.group(1), field.group(2) == null ? field.group(3) : field.group(2));
        }
        topic = job.get("topic");
        messages = number("messages");
        values = values(number("value_bytes"));
    }

    private int number(String name) {
        return Integer.parseInt(job.get(name));
    }

    private static byte[][] values(int size) {
        Random source = new Random(7);
        int half = size / 2;
        byte[][] made = new byte[1000][];
        for (int index = 0; index < made.length; index++) {
            byte[] raw = new byte[half / 2 + 1];
            source.nextBytes(raw);
            String text = HexFormat.of().formatHex(raw).substring(0, half);
            text += "the quick brown fox jumps over the lazy dog ".repeat(half / 44 + 1);
            made[index] = text.substring(0, size).getBytes(StandardCharsets.US_ASCII);
        }
        return made;
    }

    private static long cpu() {
        return ((OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }

    private void start() {
        cpuBefore = cpu();
        before = System.nanoTime();
    }

    /** Ends the measured part and makes its result object, but for the closing brace. */
    private String measured(int count, int failed) {
        double seconds = (System.nanoTime() - before) / 1e9;
        double cpuSeconds = (cpu() - cpuBefore) / 1e9;
        return "{\"seconds\": " + seconds + ", \"cpu_seconds\": " + cpuSeconds + ", \"messages\": " + count
            + ", \"failed\": " + failed;
    }

    private KafkaProducer<byte[], byte[]> producer(int lingerMs) {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", job.get("bootstrap"));
        config.put("linger.ms", lingerMs);
        config.put("batch.size", BATCH_BYTES);
        config.put("acks", "all");
        config.put("enable.idempotence", true);
        config.put("compression.type", job.get("compression"));
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private ProducerRecord<byte[], byte[]> record(int index) {
        return new ProducerRecord<>(topic, values[index % values.length]);
    }

    private String produce() throws Exception {
        boolean keep = job.get("keep").equals("true");
        double rate = Double.parseDouble(job.get("rate"));
        int failed = 0;
        try (KafkaProducer<byte[], byte[]> producer = producer(LINGER_MS)) {
            for (int index = 0; index < WARM_UP; index++) {
                producer.send(record(index));
            }
            producer.flush();
            List<Future<RecordMetadata>> outcomes = new ArrayList<>(keep ? messages : 0);
            start();
            for (int sent = 0; sent < messages; ) {
                int due = messages;
                if (rate > 0) {
                    Thread.sleep(1);
                    due = Math.min(due, (int) ((System.nanoTime() - before) / 1e9 * rate));
                }
                for (; sent < due; sent++) {
                    Future<RecordMetadata> outcome = producer.send(record(sent));
                    if (keep) {
                        outcomes.add(outcome);
                    }
                }
            }
            producer.flush();
            for (Future<RecordMetadata> outcome : outcomes) {
                // A failed one throws, which ends the run.
                failed += outcome.get().hasOffset() ? 0 : 1;
            }
            return measured(messages, failed) + ", \"written\": " + (messages + WARM_UP);
        }
    }

    private String consume() {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", job.get("bootstrap"));
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", false);
        config.put("max.poll.records", 10_000);
        List<TopicPartition> partitions = new ArrayList<>();
        for (int index = 0; index < number("partitions"); index++) {
            partitions.add(new TopicPartition(topic, index));
        }
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(partitions);
            int first = consumer.poll(TIMEOUT).count();
            int seen = first;
            long size = 0;
            start();
            while (seen < messages) {
                ConsumerRecords<byte[], byte[]> records = consumer.poll(TIMEOUT);
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    size += record.value().length;
                }
                seen += records.count();
            }
            return measured(seen - first, 0) + ", \"seen\": " + seen + ", \"bytes\": " + size;
        }
    }

    private String latency() throws Exception {
        List<Double> taken = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = producer(0)) {
            start();
            for (int index = 0; index < messages; index++) {
                long begun = System.nanoTime();
                producer.send(record(index)).get();
                taken.add((System.nanoTime() - begun) / 1e6);
            }
            return measured(messages, 0) + ", \"latencies_ms\": " + taken.subList(messages / 10, messages);
        }
    }

    private static String version() throws Exception {
        Properties said = new Properties();
        try (InputStream file = KafkaProducer.class.getResourceAsStream("/kafka/kafka-version.properties")) {
            said.load(file);
        }
        return said.getProperty("version");
    }

    public static void main(String[] arguments) throws Exception {
        Driver driver = new Driver(arguments[0]);
        String result = switch (driver.job.get("kind")) {
            case "produce", "paced" -> driver.produce();
            case "consume" -> driver.consume();
            case "latency" -> driver.latency();
            default -> throw new IllegalArgumentException(driver.job.get("kind"));
        };
        System.out.println(result + ", \"client\": \"Java client " + version() + "\"}");
    }
}
