//! A client in a process of its own, which can be frozen: `client WHICH ADDRESS`.
//! Prints how often it stalled; fails when its link goes down.

use std::time::Duration;

use nabiz::Config;
use nabiz_interop::clients;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let which = arguments.next().expect("the name of a wrapper");
    let address = arguments.next().and_then(|address| address.parse().ok());
    let address = address.expect("the address of a server");
    let config = Config::client()
        .with_interval(Duration::from_secs(1))
        .with_answer_timeout(Duration::from_secs(2))
        .with_silence_timeout(Duration::from_secs(3))
        .build()
        .expect("it is valid");
    let mut watch = match which.as_str() {
        "redis" => clients::redis(address, config),
        "nats" => clients::nats(address, config),
        "mqtt" => clients::mqtt(address, 60, config),
        other => panic!("there is no {other}"),
    };
    println!("up");
    let mut stalls = 0;
    loop {
        watch.stays_up(Duration::from_millis(100));
        let gauge = watch.gauge();
        if gauge.stalls != stalls {
            stalls = gauge.stalls;
            println!("stalls {stalls}");
        }
    }
}
