module partitions

go 1.24
