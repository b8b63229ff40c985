//! In smol.

use std::io;

use nabiz::smol::{Clock, Link};
use nabiz_examples::dial::not_itself;
use smol::net::TcpStream;

use crate::view::View;
use crate::{Job, Refused};

pub fn keep(job: Job, mut view: View) -> Result<(), Refused> {
    let address = job.address.clone();
    let mut link = Link::with(
        job.config,
        job.seed,
        Clock::default(),
        job.heartbeat(),
        move || dial(address.clone()),
    )?;
    let handle = link.handle();
    job.stop_on_signal(move || {
        let handle = handle.clone();
        smol::spawn(async move { handle.shutdown().await }).detach();
    });
    let handle = link.handle();
    job.send_lines(move |line| handle.send(line));

    smol::block_on(async {
        let mut buffer = [0; 16 * 1024];
        while let Some(event) = link.next(&mut buffer).await {
            view.show(event, &mut link);
        }
    });
    Ok(())
}

async fn dial(address: String) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    not_itself(stream.local_addr(), stream.peer_addr())?;
    // A heartbeat that waits for company comes late.
    stream.set_nodelay(true)?;
    Ok(stream)
}
