//! The system's clock keeps what the port promises.

use std::sync::Arc;
use std::time::Duration;

use gw_clock::{SystemClock, conformance};

#[tokio::test]
async fn the_systems_clock_conforms() {
    let step = Duration::from_millis(5);
    conformance::clock(Arc::new(SystemClock::new()), step, async |time| tokio::time::sleep(time).await).await;
}
