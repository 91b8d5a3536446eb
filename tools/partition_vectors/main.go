// Reads lines "hex count" and prints, for each key, the partitions that sarama's hash and its round robin choose.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"

	"github.com/IBM/sarama"
)

func show(partitioner sarama.Partitioner, key []byte, count int) int32 {
	message := &sarama.ProducerMessage{Topic: "t", Key: sarama.ByteEncoder(key)}
	partition, err := partitioner.Partition(message, int32(count))
	if err != nil {
		log.Fatal(err)
	}
	return partition
}

func main() {
	hash := sarama.NewHashPartitioner("t")
	turns := sarama.NewRoundRobinPartitioner("t")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), " ")
		key, err := hex.DecodeString(fields[0])
		if err != nil {
			log.Fatal(err)
		}
		count, err := strconv.Atoi(fields[1])
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(show(hash, key, count), show(turns, key, count))
	}
}
