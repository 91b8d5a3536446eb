// Package shared is drivers/shared.py for Go: the job, its values, and how time and CPU are measured.
package shared

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log"
	"math/rand"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	// Linger, BatchBytes and WarmUp are what every client gets.
	Linger     = 5 * time.Millisecond
	BatchBytes = 1_000_000
	WarmUp     = 10_000
	// Buffered is how many messages a client may hold; librdkafka's driver gets the same.
	Buffered = 500_000
	tick     = time.Millisecond
)

// Job is one piece of work; the fields that only Python drivers need are left out.
type Job struct {
	Kind        string  `json:"kind"`
	Bootstrap   string  `json:"bootstrap"`
	Topic       string  `json:"topic"`
	Partitions  int32   `json:"partitions"`
	Messages    int     `json:"messages"`
	ValueBytes  int     `json:"value_bytes"`
	Compression string  `json:"compression"`
	Keep        bool    `json:"keep"`
	Rate        float64 `json:"rate"`
}

// Values makes a thousand values, half random text and half not.
func Values(job Job) [][]byte {
	source := rand.New(rand.NewSource(7))
	half := job.ValueBytes / 2
	plain := strings.Repeat("the quick brown fox jumps over the lazy dog ", half/44+1)
	made := make([][]byte, 1000)
	for number := range made {
		raw := make([]byte, half/2+1)
		source.Read(raw)
		made[number] = []byte(hex.EncodeToString(raw)[:half] + plain)[:job.ValueBytes]
	}
	return made
}

// Meter measures wall and CPU seconds of this process.
type Meter struct {
	before time.Time
	cpu    float64
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	Must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

// Start begins a measured part.
func Start() Meter { return Meter{time.Now(), cpuSeconds()} }

// Result ends the measured part and makes its result object.
func (meter Meter) Result(messages int) map[string]any {
	seconds := time.Since(meter.before).Seconds()
	return map[string]any{
		"seconds": seconds, "cpu_seconds": cpuSeconds() - meter.cpu, "messages": messages, "failed": 0,
	}
}

// Paced calls send for each message at the rate of the job, in ticks of a millisecond; as fast as it can without one.
func Paced(job Job, send func(number int)) {
	begun, sent := time.Now(), 0
	for sent < job.Messages {
		due := job.Messages
		if job.Rate > 0 {
			time.Sleep(tick)
			due = min(due, int(time.Since(begun).Seconds()*job.Rate))
		}
		for ; sent < due; sent++ {
			send(sent)
		}
	}
}

// Latencies measures the milliseconds of one call after another, without the first tenth.
func Latencies(job Job, send func(value []byte)) map[string]any {
	values, taken := Values(job), make([]float64, 0, job.Messages)
	meter := Start()
	for number := range job.Messages {
		before := time.Now()
		send(values[number%len(values)])
		taken = append(taken, time.Since(before).Seconds()*1000)
	}
	result := meter.Result(job.Messages)
	result["latencies_ms"] = taken[job.Messages/10:]
	return result
}

// Must ends the process with what went wrong.
func Must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Main runs the job of the command line and prints its result.
func Main(kinds map[string]func(Job) map[string]any, client string) {
	var job Job
	Must(json.Unmarshal([]byte(os.Args[1]), &job))
	kind, known := kinds[job.Kind]
	if !known {
		log.Fatalf("no kind %q", job.Kind)
	}
	result := kind(job)
	result["client"] = client
	line, err := json.Marshal(result)
	Must(err)
	fmt.Println(string(line))
}
