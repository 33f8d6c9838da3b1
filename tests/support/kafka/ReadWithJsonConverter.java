import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.json.JsonConverter;

/** Prints each record of a topic as a sink of Kafka Connect gets it from JsonConverter: BOOTSTRAP TOPIC COUNT SECONDS. */
class ReadWithJsonConverter {
    public static void main(String[] arguments) {
        String topic = arguments[1];
        int wanted = Integer.parseInt(arguments[2]);
        Instant deadline = Instant.now().plusSeconds(Long.parseLong(arguments[3]));
        try (JsonConverter converter = new JsonConverter();
                KafkaConsumer<byte[], byte[]> consumer =
                        new KafkaConsumer<>(
                                Map.of("bootstrap.servers", arguments[0]),
                                new ByteArrayDeserializer(),
                                new ByteArrayDeserializer())) {
            converter.configure(Map.of("schemas.enable", "false"), false);
            List<TopicPartition> partitions =
                    consumer.partitionsFor(topic).stream()
                            .map(one -> new TopicPartition(topic, one.partition()))
                            .toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            for (int read = 0; read < wanted && Instant.now().isBefore(deadline); ) {
                for (var message : consumer.poll(Duration.ofMillis(200))) {
                    SchemaAndValue found = converter.toConnectData(topic, message.headers(), message.value());
                    boolean isMap = found.value() instanceof Map;
                    System.out.println(
                            "record\t" + (isMap ? new java.util.TreeMap<>((Map<?, ?>) found.value()) : found.value()));
                    read++;
                }
            }
        }
    }
}
