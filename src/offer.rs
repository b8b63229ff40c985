//! Settling beats with the peer, as STOMP 1.2 does.

use core::time::Duration;

use crate::config::Limits;
use crate::time::{Ratio, Span};

/// What one end offers: how often it can send, and how often it wants to
/// receive. The `heart-beat` header of [STOMP
/// 1.2](https://stomp.github.io/stomp-specification-1.2.html#Heart-beating),
/// for any protocol that settles beats after connecting.
///
/// ```
/// use core::time::Duration;
/// use nabiz::Offer;
///
/// let ours = Offer::from_millis(10, 20); // heart-beat:10,20
/// let theirs = Offer::from_millis(30, 40);
/// let settled = ours.agree(theirs);
/// assert_eq!(settled.send_every, Some(Duration::from_millis(40)));
/// assert_eq!(settled.receive_every, Some(Duration::from_millis(30)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Offer {
    /// The shortest interval at which this end can send; none: it cannot.
    pub can_send_every: Option<Duration>,
    /// The interval at which it wants to receive; none: it does not want to.
    pub wants_every: Option<Duration>,
}

/// What two offers come to, seen from one end. See [`Offer::agree`].
///
/// ```
/// use nabiz::{Agreement, Offer};
///
/// let nothing = Agreement { send_every: None, receive_every: None };
/// assert_eq!(Offer::default().agree(Offer::from_millis(10, 10)), nothing);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Agreement {
    /// Our interval; none: we send no beats.
    pub send_every: Option<Duration>,
    /// The peer's interval; none: it sends no beats.
    pub receive_every: Option<Duration>,
}

impl Offer {
    /// The two numbers of the header, in milliseconds; 0 is "cannot", or "does
    /// not want". An absent header is `0,0`.
    #[must_use]
    pub const fn from_millis(can_send_every: u64, wants_every: u64) -> Self {
        const fn some(millis: u64) -> Option<Duration> {
            match millis {
                0 => None,
                millis => Some(Duration::from_millis(millis)),
            }
        }
        Self {
            can_send_every: some(can_send_every),
            wants_every: some(wants_every),
        }
    }

    /// What this end and the other come to: in each direction the slower of
    /// the two, and nothing where either end declines.
    #[must_use]
    pub fn agree(self, theirs: Self) -> Agreement {
        let slower = |can: Option<Duration>, wants: Option<Duration>| Some(can?.max(wants?));
        Agreement {
            send_every: slower(self.can_send_every, theirs.wants_every),
            receive_every: slower(theirs.can_send_every, self.wants_every),
        }
    }
}

impl Agreement {
    /// The limits to set in place of the `current` ones: our interval, and a
    /// silence timeout of the peer's interval times `margin` (STOMP asks for an error margin; 150 % is the
    /// least that [`compatible_with`](crate::Config::compatible_with) accepts).
    ///
    /// ```
    /// use core::time::Duration;
    /// use nabiz::{Config, Offer, Ratio};
    ///
    /// let settled = Offer::from_millis(10_000, 10_000).agree(Offer::from_millis(0, 20_000));
    /// let limits = settled.limits(Config::client().build()?.limits(), Ratio::percent(200));
    /// assert_eq!(limits.interval, Some(Duration::from_secs(20)));
    /// assert_eq!(limits.silence_timeout, None);
    /// # Ok::<(), nabiz::ConfigError>(())
    /// ```
    #[must_use]
    pub fn limits(self, current: Limits, margin: Ratio) -> Limits {
        Limits {
            interval: self.send_every,
            silence_timeout: self
                .receive_every
                .map(|every| Span::saturating(every).times(margin).duration()),
            ..current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// STOMP 1.2, Heart-beating.
    #[test]
    fn stomp_vectors() {
        let server = Offer::from_millis(30, 40);
        let millis = |every: Option<Duration>| every.map_or(0, |every| every.as_millis());
        let settled = |ours: Offer| {
            let settled = ours.agree(server);
            (millis(settled.send_every), millis(settled.receive_every))
        };
        assert_eq!(settled(Offer::from_millis(10, 20)), (40, 30));
        assert_eq!(settled(Offer::from_millis(0, 20)), (0, 30));
        assert_eq!(settled(Offer::from_millis(10, 0)), (40, 0));
        assert_eq!(settled(Offer::default()), (0, 0));
        assert_eq!(Offer::default(), Offer::from_millis(0, 0));
    }

    #[test]
    fn both_ends_come_to_the_same() {
        for (a, b, c, d) in [(10, 20, 30, 40), (0, 5, 7, 0), (9, 9, 9, 9)] {
            let (one, other) = (Offer::from_millis(a, b), Offer::from_millis(c, d));
            let (here, there) = (one.agree(other), other.agree(one));
            assert_eq!(here.send_every, there.receive_every);
            assert_eq!(here.receive_every, there.send_every);
        }
    }

    #[test]
    fn the_limits_are_what_was_settled_and_the_rest_stays() {
        let secs = Duration::from_secs;
        let current = Limits {
            interval: Some(secs(55)),
            silence_timeout: Some(secs(120)),
            answer_timeout: Some(secs(7)),
        };
        let settled = Offer::from_millis(10_000, 8_000).agree(Offer::from_millis(4_000, 20_000));
        let expected = Limits {
            interval: Some(secs(20)),
            silence_timeout: Some(secs(16)),
            ..current
        };
        assert_eq!(settled.limits(current, Ratio::percent(200)), expected);
        let declined = Offer::default().agree(Offer::default());
        let expected = Limits {
            interval: None,
            silence_timeout: None,
            ..current
        };
        assert_eq!(declined.limits(current, Ratio::percent(200)), expected);
    }
}
