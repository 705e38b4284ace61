//! 50 000 names a second that nobody asked for before, of which one in a hundred is honest: the others are random, below a few domains or below
//! thousands. With everything as it is by default honest names make their events.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::frame::Writer;
use super::super::resolver::Resolver;
use super::super::stage::Stage;
use super::super::traffic::Dice;
use super::load::{send_again, write};
use super::verdicts::Verdicts;
use super::{Counted, Scene, USABLE, resident};
use crate::say;

const A_SECOND: u64 = 50_000;
const HONEST: u64 = 100;
const TICKS: u64 = 100;
/// How many domains are attacked.
const ATTACKED: [(u64, &str); 3] = [(1, "one domain"), (20, "20 domains"), (5000, "5000 domains")];
/// Domains of honest names: 500 a second, so each has a new name every 40 seconds.
const DOMAINS: u64 = 20_000;
/// A little more than a minute: an empty store holds events back until one was quiet.
const QUIET: Duration = Duration::from_secs(62);
/// Events that may be on their way at the end.
const SETTLES: Duration = Duration::from_secs(2);
const GOAL: f64 = 99.0;
const FLAT: f64 = 8.0;

pub(in super::super) fn flood(stage: &mut Stage) -> Result<()> {
    let mut verdicts = Verdicts::of("flood");
    let _scene = Scene::start(stage, "")?;
    say("    a store that is empty holds events back until a minute was quiet");
    send_again(&stage.edm.socket(), 0..1)?;
    std::thread::sleep(QUIET);
    stage.core.names()?;
    let (mut least, mut events, mut begin, mut most) = (100.0_f64, 0.0_f64, None, 0.0_f64);
    let mut dice = Dice::new(7);
    for (round, (attacked, what)) in ATTACKED.into_iter().enumerate() {
        let before = Counted::now(stage)?;
        let (honest, took) = send(stage, &mut dice, round, attacked)?;
        std::thread::sleep(SETTLES);
        let after = Counted::now(stage)?;
        let came = stage.core.names()?;
        let reported = came.iter().filter(|name| honest.contains(*name)).count();
        let percent = 100.0 * reported as f64 / honest.len() as f64;
        let outcome = |name: &str| after.outcome("event_candidates_total", name) - before.outcome("event_candidates_total", name);
        let (queued, domain, rate) = (outcome("queued"), outcome("limited_domain"), outcome("limited_rate"));
        let frames = after.of("frames_total") - before.of("frames_total");
        let now = resident(stage)?;
        begin.get_or_insert(now);
        say(&format!(
            "    {what}: {frames} frames in {took:.1} s, {queued} events ({reported} of {} honest ones), {domain} held back for their domain, {rate} for the rate, {now:.1} MiB",
            honest.len()
        ));
        verdicts.promise("honest names are reported", percent >= GOAL, format!("{percent:.2} % with {what} attacked"));
        let all = stage.lasting.flood_seconds * A_SECOND;
        let counted = ["queued", "limited_domain", "limited_rate", "seen", "full", "start_up"].map(outcome).iter().sum::<u64>();
        verdicts.promise("every name is accounted for", counted == all && frames == all, format!("{counted} of {all}"));
        verdicts.promise("every event is delivered", came.len() as u64 == queued, format!("{} of {queued}", came.len()));
        (least, events, most) = (least.min(percent), events.max(queued as f64 / took), most.max(now));
    }
    let begin = begin.unwrap_or_default();
    stage.size.figure("flood_honest_percent", least, "%");
    stage.size.figure("flood_events_per_s", events, "events/s");
    stage.size.figure("flood_rss_mib", most, "MiB");
    verdicts.promise(
        "memory stays as it is",
        most - begin <= FLAT && most <= USABLE,
        format!("{begin:.1} MiB after the first round, {most:.1} at most"),
    );
    let dropped = Counted::now(stage)?.of("input_frames_dropped_total");
    verdicts.promise("no frame is dropped", dropped == 0, dropped);
    stage.edm.stop()?;
    verdicts.end()
}

/// The honest names, and for how many seconds names came.
fn send(stage: &Stage, dice: &mut Dice, round: usize, attacked: u64) -> Result<(HashSet<String>, f64)> {
    let mut resolver = Resolver::connect(&stage.edm.socket())?;
    let (mut writer, mut octets, mut honest) = (Writer::default(), Vec::new(), HashSet::new());
    let began = Instant::now();
    for tick in 0..stage.lasting.flood_seconds * TICKS {
        octets.clear();
        for place in 0..A_SECOND / TICKS {
            let number = tick * A_SECOND / TICKS + place;
            let name = if number.is_multiple_of(HONEST) {
                let name = format!("www.h{round}-{number}.site-{}.org.", (number / HONEST) % DOMAINS);
                honest.insert(name.clone());
                name
            } else {
                format!("r{:x}.victim-{round}-{}.com.", dice.below(u64::MAX >> 11), number % attacked)
            };
            write(&mut writer, &name, number, &mut octets);
        }
        resolver.send(&octets)?;
        std::thread::sleep((Duration::from_secs(1) * (tick as u32 + 1) / TICKS as u32).saturating_sub(began.elapsed()));
    }
    let took = began.elapsed().as_secs_f64();
    resolver.finish()?;
    Ok((honest, took))
}
