// franz-go's driver.
package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"ottla.example/bench/shared"
)

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func newClient(job shared.Job, linger time.Duration) *kgo.Client {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(job.Bootstrap),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(linger),
		kgo.ProducerBatchMaxBytes(shared.BatchBytes),
		kgo.ProducerBatchCompression(codecs[job.Compression]),
		kgo.MaxBufferedRecords(shared.Buffered),
	)
	shared.Must(err)
	return client
}

func produce(job shared.Job) map[string]any {
	client, ctx, values := newClient(job, shared.Linger), context.Background(), shared.Values(job)
	defer client.Close()
	for number := range shared.WarmUp {
		client.Produce(ctx, &kgo.Record{Topic: job.Topic, Value: values[number%len(values)]}, nil)
	}
	shared.Must(client.Flush(ctx))
	offsets, failed := make([]int64, 0, job.Messages), 0
	var promise func(*kgo.Record, error)
	if job.Keep {
		// Promises are called one at a time.
		promise = func(record *kgo.Record, err error) {
			if err != nil {
				failed++
			} else {
				offsets = append(offsets, record.Offset)
			}
		}
	}
	meter := shared.Start()
	shared.Paced(job, func(number int) {
		client.Produce(ctx, &kgo.Record{Topic: job.Topic, Value: values[number%len(values)]}, promise)
	})
	shared.Must(client.Flush(ctx))
	result := meter.Result(job.Messages)
	if job.Keep {
		result["failed"] = job.Messages - len(offsets)
	}
	result["written"] = job.Messages + shared.WarmUp
	return result
}

func consume(job shared.Job) map[string]any {
	from := map[int32]kgo.Offset{}
	for number := range job.Partitions {
		from[number] = kgo.NewOffset().AtStart()
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(job.Bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{job.Topic: from}),
	)
	shared.Must(err)
	defer client.Close()
	ctx := context.Background()
	seen, size := client.PollRecords(ctx, 1).NumRecords(), 0
	first := seen
	meter := shared.Start()
	for seen < job.Messages {
		fetches := client.PollRecords(ctx, 10_000)
		shared.Must(fetches.Err())
		fetches.EachRecord(func(record *kgo.Record) {
			seen++
			size += len(record.Value)
		})
	}
	result := meter.Result(seen - first)
	result["seen"], result["bytes"] = seen, size
	return result
}

func latency(job shared.Job) map[string]any {
	client := newClient(job, 0)
	defer client.Close()
	return shared.Latencies(job, func(value []byte) {
		record := &kgo.Record{Topic: job.Topic, Value: value}
		shared.Must(client.ProduceSync(context.Background(), record).FirstErr())
	})
}

func main() {
	shared.Main(map[string]func(shared.Job) map[string]any{
		"produce": produce, "paced": produce, "consume": consume, "latency": latency,
	}, "franz-go "+shared.Version("github.com/twmb/franz-go"))
}
