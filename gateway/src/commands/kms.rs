//! `cess-gateway kms`: named keys for SSE-KMS.

use super::{SOON, show};
use crate::admin::client::AdminClient;
use crate::admin::wire::{KmsAdd, KmsLine};
use crate::cli::{KmsVerb, Reach};
use crate::error::Result;

pub async fn kms(reach: &Reach, client: &AdminClient, verb: KmsVerb) -> Result<()> {
    match verb {
        KmsVerb::Add { name } => {
            let () = client.post("/v1/kms", &KmsAdd { name: name.clone() }, SOON).await?;
            show(reach, &serde_json::json!({ "added": name }), |_| {
                format!("{name} can be named by objects\n")
            })
        }
        KmsVerb::List => {
            let keys: Vec<KmsLine> = client.get("/v1/kms").await?;
            show(reach, &keys, |keys| keys.iter().map(|key| format!("{}\n", key.name)).collect())
        }
    }
}
