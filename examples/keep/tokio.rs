//! In tokio, on one thread.

use std::io;

use nabiz::tokio::{Clock, Link};
use nabiz_examples::dial::not_itself;
use tokio::net::TcpStream;
use tokio::runtime::Builder;

use crate::view::View;
use crate::{Job, Refused};

pub fn keep(job: Job, mut view: View) -> Result<(), Refused> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let address = job.address.clone();
    let mut link = Link::with(
        job.config,
        job.seed,
        Clock::default(),
        job.heartbeat(),
        move || dial(address.clone()),
    )?;
    let (handle, tasks) = (link.handle(), runtime.handle().clone());
    job.stop_on_signal(move || {
        let handle = handle.clone();
        tasks.spawn(async move { handle.shutdown().await });
    });
    let handle = link.handle();
    job.send_lines(move |line| handle.send(line));

    runtime.block_on(async {
        let mut buffer = [0; 16 * 1024];
        while let Some(event) = link.next(&mut buffer).await {
            view.show(event, &mut link);
        }
    });
    runtime.shutdown_background(); // a resolver may hang
    Ok(())
}

async fn dial(address: String) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    not_itself(stream.local_addr(), stream.peer_addr())?;
    // A heartbeat that waits for company comes late.
    stream.set_nodelay(true)?;
    Ok(stream)
}
