import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecords.RecordFilter;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.utils.internals.BufferSupplier;

/**
 * Writes record batches and message sets by Kafka's own classes: each line of the output is one case, its bytes (hex)
 * and what Kafka's own reader finds in them. The content is random and the same each time. With the argument "read" the
 * cases are what comes in instead: lines of hex.
 */
public final class GoldenRecords {
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    private static final long BASE_TIME = 1_700_000_000_000L;
    private static final long APPEND_TIME = 1_800_000_000_123L;
    private static final int MOST_OUT = 1 << 20;
    private static final Identity NOBODY = new Identity(-1, (short) -1, -1, false);

    private record Identity(long producerId, short epoch, int sequence, boolean transactional) {}

    public static void main(String[] args) {
        if (args.length > 0 && args[0].equals("read")) {
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII)).lines()
                    .forEach(line -> print("read", ByteBuffer.wrap(HexFormat.of().parseHex(line))));
            OUT.flush();
            return;
        }
        for (String codec : CODECS) {
            Compression compression = compression(codec, null);
            currentFormat(codec, compression);
            if (!codec.equals("zstd")) {
                oldFormats(codec, compression);
            }
        }
        levels();
        controlBatches();
        OUT.flush();
    }

    private static void currentFormat(String codec, Compression compression) {
        Identity idempotent = new Identity(4_000_000_000L, (short) 7, Integer.MAX_VALUE, false);
        Identity transactional = new Identity(12, (short) 0, 0, true);
        write(codec + " plain", builder(2, compression, TimestampType.CREATE_TIME, 0, NOBODY, -1), 2, 9);
        write(codec + " idempotent", builder(2, compression, TimestampType.CREATE_TIME, 0, idempotent, -1), 2, 5);
        write(codec + " transaction", builder(2, compression, TimestampType.CREATE_TIME, 1L << 40, transactional, 3), 2, 5);
        write(codec + " log append", builder(2, compression, TimestampType.LOG_APPEND_TIME, 500, NOBODY, 0), 2, 5);
        write(codec + " one", builder(2, compression, TimestampType.CREATE_TIME, 77, NOBODY, 9), 2, 1);
        write(codec + " many", builder(2, compression, TimestampType.CREATE_TIME, 0, NOBODY, -1), 2, 150);
        MemoryRecordsBuilder whole = builder(2, compression, TimestampType.CREATE_TIME, 1000, transactional, 4);
        fill(codec + " compacted", whole, 2, 12);
        MemoryRecords records = whole.build();
        print(codec + " compacted", compact(records, false));
        print(codec + " compacted to nothing", compact(records, true));
    }

    private static void oldFormats(String codec, Compression compression) {
        for (int magic = 0; magic <= 1; magic++) {
            TimestampType created = magic == 0 ? TimestampType.NO_TIMESTAMP_TYPE : TimestampType.CREATE_TIME;
            String name = codec + " magic " + magic;
            write(name, builder(magic, compression, created, 200, NOBODY, -1), magic, 6);
            write(name + " one", builder(magic, compression, created, 0, NOBODY, -1), magic, 1);
            write(name + " many", builder(magic, compression, created, 0, NOBODY, -1), magic, 60);
        }
        write(codec + " magic 1 log append", builder(1, compression, TimestampType.LOG_APPEND_TIME, 200, NOBODY, -1), 1, 6);
    }

    private static void levels() {
        Object[][] wanted = {{"gzip", 1}, {"gzip", 9}, {"lz4", 1}, {"lz4", 17}, {"zstd", -5}, {"zstd", 1}, {"zstd", 22}};
        for (Object[] pair : wanted) {
            Compression compression = compression((String) pair[0], (Integer) pair[1]);
            String name = pair[0] + " level " + pair[1];
            write(name, builder(2, compression, TimestampType.CREATE_TIME, 0, NOBODY, -1), 2, 40);
        }
    }

    private static void controlBatches() {
        for (ControlRecordType type : List.of(ControlRecordType.COMMIT, ControlRecordType.ABORT)) {
            MemoryRecords marker = MemoryRecords.withEndTransactionMarker(
                    900, BASE_TIME, 2, 77L, (short) 5, new EndTransactionMarker(type, 31));
            print("control " + type, marker.buffer());
        }
    }

    private static Compression compression(String codec, Integer level) {
        return switch (codec) {
            case "gzip" -> level == null ? Compression.gzip().build() : Compression.gzip().level(level).build();
            case "lz4" -> level == null ? Compression.lz4().build() : Compression.lz4().level(level).build();
            case "zstd" -> level == null ? Compression.zstd().build() : Compression.zstd().level(level).build();
            default -> Compression.of(codec).build();
        };
    }

    private static MemoryRecordsBuilder builder(
            int magic, Compression compression, TimestampType type, long baseOffset, Identity who, int leaderEpoch) {
        ByteBuffer buffer = ByteBuffer.allocate(1 << 20);
        long appendTime = type == TimestampType.LOG_APPEND_TIME ? APPEND_TIME : RecordBatch.NO_TIMESTAMP;
        return new MemoryRecordsBuilder(buffer, (byte) magic, compression, type, baseOffset, appendTime, who.producerId(),
                who.epoch(), who.sequence(), who.transactional(), false, leaderEpoch, buffer.capacity());
    }

    private static void write(String name, MemoryRecordsBuilder builder, int magic, int count) {
        fill(name, builder, magic, count);
        print(name, builder.build().buffer());
    }

    private static void fill(String name, MemoryRecordsBuilder builder, int magic, int count) {
        Random random = new Random(name.hashCode());
        for (int i = 0; i < count; i++) {
            long time = magic == 0 ? RecordBatch.NO_TIMESTAMP : BASE_TIME + random.nextInt(20_000) - 10_000;
            Header[] headers = magic == 2 ? headers(random) : Record.EMPTY_HEADERS;
            builder.append(time, wrap(content(random, 12)), wrap(content(random, 300)), headers);
        }
        builder.close();
    }

    private static Header[] headers(Random random) {
        Header[] headers = new Header[Math.max(0, random.nextInt(6) - 2)];
        String[] names = {"same", "same", "", "żółw 🐢"};
        for (int i = 0; i < headers.length; i++) {
            headers[i] = new RecordHeader(names[random.nextInt(names.length)], content(random, 20));
        }
        return headers;
    }

    private static byte[] content(Random random, int most) {
        int kind = random.nextInt(6);
        if (kind == 0) {
            return null;
        }
        byte[] bytes = new byte[kind == 1 ? 0 : random.nextInt(most)];
        if (kind == 2) {
            random.nextBytes(bytes);
            return bytes;
        }
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) "the way of a record; ".charAt(i % 21);
        }
        return bytes;
    }

    private static ByteBuffer wrap(byte[] bytes) {
        return bytes == null ? null : ByteBuffer.wrap(bytes);
    }

    /** The log cleaner's work: every third record stays, or none and the empty batch. */
    private static ByteBuffer compact(MemoryRecords records, boolean drop) {
        ByteBuffer kept = ByteBuffer.allocate(1 << 20);
        RecordFilter filter = new RecordFilter(BASE_TIME, 1000) {
            @Override
            protected BatchRetentionResult checkBatchRetention(RecordBatch batch) {
                return new BatchRetentionResult(BatchRetention.RETAIN_EMPTY, true);
            }

            @Override
            protected boolean shouldRetainRecord(RecordBatch batch, Record record) {
                return !drop && record.offset() % 3 == 1;
            }
        };
        records.filterTo(filter, kept, BufferSupplier.NO_CACHING, MOST_OUT);
        kept.flip();
        return kept;
    }

    private static void print(String name, ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        ObjectNode line = MAPPER.createObjectNode();
        line.put("name", name);
        ArrayNode batches = line.putArray("batches");
        for (RecordBatch batch : MemoryRecords.readableRecords(ByteBuffer.wrap(bytes)).batches()) {
            batch.ensureValid();
            describe(batches.addObject(), batch);
        }
        line.put("bytes", HexFormat.of().formatHex(bytes));
        OUT.print(line + "\n");
    }

    private static void describe(ObjectNode node, RecordBatch batch) {
        node.put("magic", batch.magic());
        node.put("codec", batch.compressionType().name);
        node.put("size", batch.sizeInBytes());
        node.put("crc", batch.checksum());
        node.put("next_offset", batch.nextOffset());
        node.put("log_append", batch.timestampType() == TimestampType.LOG_APPEND_TIME);
        if (batch.magic() == 2) {
            node.put("base_offset", batch.baseOffset());
            node.put("max_timestamp", batch.maxTimestamp());
            node.put("producer_id", batch.producerId());
            node.put("producer_epoch", batch.producerEpoch());
            node.put("base_sequence", batch.baseSequence());
            node.put("leader_epoch", batch.partitionLeaderEpoch());
            node.put("transactional", batch.isTransactional());
            node.put("control", batch.isControlBatch());
            node.put("delete_horizon", batch.deleteHorizonMs().isPresent());
        }
        ArrayNode records = node.putArray("records");
        for (Record record : batch) {
            ArrayNode fields = records.addArray().add(record.offset()).add(record.timestamp());
            fields.add(hex(record.key())).add(hex(record.value()));
            ArrayNode headers = fields.addArray();
            for (Header header : record.headers()) {
                headers.addArray().add(header.key()).add(hex(header.value()));
            }
        }
    }

    private static String hex(ByteBuffer content) {
        if (content == null) {
            return null;
        }
        byte[] bytes = new byte[content.remaining()];
        content.duplicate().get(bytes);
        return hex(bytes);
    }

    private static String hex(byte[] bytes) {
        return bytes == null ? null : HexFormat.of().formatHex(bytes);
    }
}
