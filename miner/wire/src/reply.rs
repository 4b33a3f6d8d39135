//! The JSON that miners answer with (cess-miner `node/common/types.go` `RespType` and
//! `node/web/status.go` `StatusData`). Fields that a miner leaves out read as empty, so that older
//! and newer miners can both be asked.

use serde::{Deserialize, Serialize};

/// `msg` of a success.
pub const MSG_OK: &str = "ok";
/// What cess-miner says, with code 403, when its own chain connection is away: asking later helps.
pub const MSG_CHAIN_AWAY: &str = "failed to connect to rpc, please try again later.";

/// The answer to everything but a successful get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply<T> {
    /// 200 when it was done; else as HTTP numbers go. It counts even where the HTTP status is 200.
    pub code: i64,
    /// For a person.
    #[serde(default)]
    pub msg: String,
    /// What was asked for, where there is something.
    #[serde(default = "Option::default")]
    pub data: Option<T>,
}

/// `data` of `GET /status`. The first group is cess-miner's, the second ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusData {
    /// Version of the miner's program.
    pub version: String,
    /// `"positive"` when it takes fragments; else as on chain.
    pub state: String,
    /// The miner's account, SS58.
    pub signature_acc: String,
    /// Bytes it has promised in all.
    pub declaration_space: u64,
    /// Bytes it can still take.
    pub idle_space: u64,
    /// Bytes of fragments it holds.
    pub service_space: u64,
    /// Bytes set aside for puts that are under way.
    pub lock_space: u64,

    /// `"ok"`, `"full"`, or `"failed"` when its disk may not be believed any more.
    pub health: String,
    /// True for a development miner: it stores and reports, but proves nothing to the chain.
    pub simulated: bool,
    /// A fault switched on for a test, else empty.
    pub fault: String,
}

#[cfg(test)]
mod tests {
    use super::{Reply, StatusData};

    #[test]
    fn reply_has_the_three_fields_of_cess_miner() {
        let reply = Reply::<StatusData> { code: 404, msg: "not found".to_owned(), data: None };
        let text = serde_json::to_string(&reply).unwrap();
        assert_eq!(text, r#"{"code":404,"msg":"not found","data":null}"#);
        assert_eq!(serde_json::from_str::<Reply<StatusData>>(&text).unwrap(), reply);
    }

    #[test]
    fn status_of_an_older_miner_reads_with_gaps() {
        let text = r#"{"code":200,"msg":"ok","data":{"pid":7,"cores":4,"idle_space":1099511627776,"state":"positive"}}"#;
        let data = serde_json::from_str::<Reply<StatusData>>(text).unwrap().data.unwrap();
        assert_eq!((data.idle_space, data.state.as_str(), data.simulated), (1 << 40, "positive", false));
        assert!(serde_json::from_str::<Reply<StatusData>>(r#"{"code":200}"#).unwrap().data.is_none());
    }
}
