//! Names of the APIs, for messages to people about a request that was not answered.

/// By API key; an empty name is one that no client sends.
const NAMES: [&str; 69] = [
    "Produce",
    "Fetch",
    "ListOffsets",
    "Metadata",
    "",
    "",
    "",
    "",
    "OffsetCommit",
    "OffsetFetch",
    "FindCoordinator",
    "JoinGroup",
    "Heartbeat",
    "LeaveGroup",
    "SyncGroup",
    "DescribeGroups",
    "ListGroups",
    "SaslHandshake",
    "ApiVersions",
    "CreateTopics",
    "DeleteTopics",
    "DeleteRecords",
    "InitProducerId",
    "OffsetForLeaderEpoch",
    "AddPartitionsToTxn",
    "AddOffsetsToTxn",
    "EndTxn",
    "",
    "TxnOffsetCommit",
    "DescribeAcls",
    "CreateAcls",
    "DeleteAcls",
    "DescribeConfigs",
    "AlterConfigs",
    "AlterReplicaLogDirs",
    "DescribeLogDirs",
    "SaslAuthenticate",
    "CreatePartitions",
    "CreateDelegationToken",
    "RenewDelegationToken",
    "ExpireDelegationToken",
    "DescribeDelegationToken",
    "DeleteGroups",
    "ElectLeaders",
    "IncrementalAlterConfigs",
    "AlterPartitionReassignments",
    "ListPartitionReassignments",
    "OffsetDelete",
    "DescribeClientQuotas",
    "AlterClientQuotas",
    "DescribeUserScramCredentials",
    "AlterUserScramCredentials",
    "",
    "",
    "",
    "DescribeQuorum",
    "",
    "UpdateFeatures",
    "",
    "",
    "DescribeCluster",
    "DescribeProducers",
    "",
    "",
    "UnregisterBroker",
    "DescribeTransactions",
    "ListTransactions",
    "",
    "ConsumerGroupHeartbeat",
];

/// Returns the name of a request with this API key.
pub fn api_name(key: i16) -> String {
    match usize::try_from(key).ok().and_then(|key| NAMES.get(key)) {
        Some(name) if !name.is_empty() => (*name).to_owned(),
        _ => format!("API key {key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_their_keys() {
        for (key, name) in [
            (0, "Produce"),
            (18, "ApiVersions"),
            (36, "SaslAuthenticate"),
            (60, "DescribeCluster"),
            (68, "ConsumerGroupHeartbeat"),
            (4, "API key 4"),
            (-1, "API key -1"),
        ] {
            assert_eq!(api_name(key), name);
        }
    }
}
