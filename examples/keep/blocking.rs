//! On a thread, and another for each dial.

use nabiz::blocking::{Clock, Link};
use nabiz_examples::dial::dial;

use crate::view::View;
use crate::{Job, Refused};

pub fn keep(job: Job, mut view: View) -> Result<(), Refused> {
    let (address, called_off) = (job.address.clone(), job.stopping.clone());
    let mut link = Link::with(
        job.config,
        job.seed,
        Clock::default(),
        job.heartbeat(),
        move |budget| dial(&address, budget, &called_off),
    )?;
    let handle = link.handle();
    job.stop_on_signal(move || handle.shutdown());
    let handle = link.handle();
    job.send_lines(move |line| handle.send(line));

    let mut buffer = [0; 16 * 1024];
    while let Some(event) = link.next(&mut buffer) {
        view.show(event, &mut link);
    }
    Ok(())
}
