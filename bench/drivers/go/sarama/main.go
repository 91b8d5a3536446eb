// sarama's driver.
package main

import (
	"sync"
	"time"

	"github.com/IBM/sarama"

	"ottla.example/bench/shared"
)

var codecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func newClient(job shared.Job, linger time.Duration, successes bool) sarama.Client {
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	// sarama refuses idempotence with more than one request in flight.
	config.Net.MaxOpenRequests = 1
	config.Producer.Flush.Frequency = linger
	if linger > 0 {
		config.Producer.Flush.Bytes = shared.BatchBytes
	}
	config.Producer.MaxMessageBytes = shared.BatchBytes
	config.Producer.Compression = codecs[job.Compression]
	config.Producer.Return.Successes = successes
	client, err := sarama.NewClient([]string{job.Bootstrap}, config)
	shared.Must(err)
	return client
}

// run writes count messages and waits for all of them; it returns how many were acknowledged and how many failed.
func run(client sarama.Client, job shared.Job, values [][]byte) (offsets []int64, failed int) {
	producer, err := sarama.NewAsyncProducerFromClient(client)
	shared.Must(err)
	var readers sync.WaitGroup
	readers.Go(func() {
		for range producer.Errors() {
			failed++
		}
	})
	offsets = make([]int64, 0, job.Messages)
	readers.Go(func() {
		for message := range producer.Successes() {
			offsets = append(offsets, message.Offset)
		}
	})
	shared.Paced(job, func(number int) {
		value := sarama.ByteEncoder(values[number%len(values)])
		producer.Input() <- &sarama.ProducerMessage{Topic: job.Topic, Value: value}
	})
	producer.AsyncClose()
	readers.Wait()
	return offsets, failed
}

func produce(job shared.Job) map[string]any {
	client, values := newClient(job, shared.Linger, job.Keep), shared.Values(job)
	defer client.Close()
	warm := job
	warm.Messages, warm.Rate = shared.WarmUp, 0
	// sarama has no flush but the end of a producer; the client under it keeps its connections.
	run(client, warm, values)
	meter := shared.Start()
	offsets, failed := run(client, job, values)
	result := meter.Result(job.Messages)
	if job.Keep {
		failed = job.Messages - len(offsets)
	}
	result["failed"], result["written"] = failed, job.Messages+shared.WarmUp
	return result
}

func consume(job shared.Job) map[string]any {
	consumer, err := sarama.NewConsumer([]string{job.Bootstrap}, sarama.NewConfig())
	shared.Must(err)
	all := make(chan *sarama.ConsumerMessage, 10_000)
	for number := range job.Partitions {
		part, err := consumer.ConsumePartition(job.Topic, number, sarama.OffsetOldest)
		shared.Must(err)
		go func() {
			for message := range part.Messages() {
				all <- message
			}
		}()
	}
	<-all
	seen, size := 1, 0
	meter := shared.Start()
	for seen < job.Messages {
		size += len((<-all).Value)
		seen++
	}
	result := meter.Result(seen - 1)
	result["seen"], result["bytes"] = seen, size
	return result
}

func latency(job shared.Job) map[string]any {
	client := newClient(job, 0, true)
	defer client.Close()
	producer, err := sarama.NewSyncProducerFromClient(client)
	shared.Must(err)
	return shared.Latencies(job, func(value []byte) {
		_, _, err := producer.SendMessage(
			&sarama.ProducerMessage{Topic: job.Topic, Value: sarama.ByteEncoder(value)},
		)
		shared.Must(err)
	})
}

func main() {
	shared.Main(map[string]func(shared.Job) map[string]any{
		"produce": produce, "paced": produce, "consume": consume, "latency": latency,
	}, "sarama "+shared.Version("github.com/IBM/sarama"))
}
