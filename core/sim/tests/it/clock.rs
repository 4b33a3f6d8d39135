//! The simulated clock keeps what the port promises.

use std::sync::Arc;
use std::time::Duration;

use gw_sim::SimClock;

#[tokio::test]
async fn the_simulated_clock_conforms() {
    let clock = SimClock::default();
    let step = Duration::from_secs(3600);
    gw_clock::conformance::clock(Arc::new(clock.clone()), step, async |time| clock.run_for(time).await).await;
}
