//! The clock jumps ahead. Alone in its binary, since the clock is the process's.

mod peer;

use std::time::Duration;

use ottla_core::seam::LostKind;
use peer::{Bench, PATIENCE, peer, read_frame, request};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_request_expires_when_the_clock_jumps_past_its_deadline() {
    let (address, thread) = peer(1, |mut stream| while read_frame(&mut stream).is_some() {});
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    bench.io.request(conn, 1, request(b"silence"), HOUR, true);
    assert!(bench.io.skip(HOUR - Duration::from_secs(60), PATIENCE));
    assert_eq!(bench.rest(), []);
    assert!(bench.io.skip(Duration::from_secs(61), PATIENCE));
    let (kind, _, tokens) = bench.wait_lost(conn);
    assert_eq!((kind, tokens), (LostKind::RequestTimeout, vec![1]));
    thread.join().unwrap();

    assert!(bench.io.shutdown(PATIENCE));
    assert!(
        !bench.io.skip(HOUR, PATIENCE),
        "no turn of a thread that has ended"
    );
}
