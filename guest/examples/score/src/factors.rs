//! The factors that raise the risk, each with the most points it can give: impact
//! 35, damage 30, cost 15, phase 15, light 5. Together they are 100.

use crate::{Damage, Phase, Size, Strike, TimeOfDay};

pub struct Factor {
    pub points: u8,
    pub reason: String,
}

/// The factors that count in this strike, in the order above.
pub fn of(strike: &Strike) -> Vec<Factor> {
    let all = [impact(strike), damage(strike), cost(strike), phase(strike), light(strike)];
    all.into_iter().flatten().collect()
}

fn factor(points: u8, reason: impl Into<String>) -> Option<Factor> {
    (points > 0).then(|| Factor { points, reason: reason.into() })
}

/// The energy of the impact, by a typical mass of the size class.
fn impact(strike: &Strike) -> Option<Factor> {
    let (kilograms, animal) = match strike.wildlife_size {
        Size::Small => (0.1, "small"),
        Size::Medium => (0.8, "medium-sized"),
        Size::Large => (4.0, "large"),
    };
    // A report without a speed gets one that is usual in its phase, so that it is
    // not taken for a harmless one.
    let knots = strike.speed_knots.unwrap_or(match strike.phase {
        Phase::Parked => 0,
        Phase::Taxi => 15,
        Phase::TakeOffRun | Phase::LandingRoll => 100,
        Phase::Approach => 140,
        Phase::Climb => 180,
        Phase::Descent => 220,
    });
    let metres_per_second = f64::from(knots) * 0.514_444;
    let kilojoules = 0.5 * kilograms * metres_per_second * metres_per_second / 1000.0;
    // One point per kilojoule up to 35: about what certification asks of a windshield.
    let points = kilojoules.min(35.0) as u8;
    factor(points, format!("{animal} animal at {knots} knots: {kilojoules:.0} kJ"))
}

fn damage(strike: &Strike) -> Option<Factor> {
    match strike.damage {
        Damage::None => None,
        Damage::Minor => factor(10, "minor damage"),
        Damage::Medium => factor(20, "medium damage"),
        Damage::Substantial => factor(30, "substantial damage"),
        Damage::ClassB => factor(30, "class B mishap"),
        Damage::ClassC => factor(20, "class C mishap"),
    }
}

/// Three points for every digit beyond the hundreds.
fn cost(strike: &Strike) -> Option<Factor> {
    let digits = strike.cost_total.checked_ilog10().map_or(0, |log| log + 1);
    let points = (digits.saturating_sub(3) * 3).min(15) as u8;
    factor(points, format!("cost {} dollars", strike.cost_total))
}

/// Low and slow, there is little room to recover.
fn phase(strike: &Strike) -> Option<Factor> {
    match strike.phase {
        Phase::Parked | Phase::Taxi => None,
        Phase::LandingRoll | Phase::Descent => factor(5, "on landing roll or descent"),
        Phase::Approach => factor(10, "on approach"),
        Phase::TakeOffRun | Phase::Climb => factor(15, "on take-off or climb"),
    }
}

fn light(strike: &Strike) -> Option<Factor> {
    match strike.time_of_day {
        TimeOfDay::Day => None,
        TimeOfDay::Dawn | TimeOfDay::Dusk | TimeOfDay::Night => factor(5, "poor light"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::quiet;

    #[test]
    fn a_missing_speed_is_the_phases_usual_one() {
        let strike = Strike { phase: Phase::Climb, speed_knots: None, wildlife_size: Size::Medium, ..quiet() };
        let factor = impact(&strike).unwrap();
        assert_eq!(factor.reason, "medium-sized animal at 180 knots: 3 kJ");
        assert_eq!(factor.points, 3);
    }

    #[test]
    fn cost_counts_from_a_thousand_dollars_to_ten_million() {
        let points = |cost_total| cost(&Strike { cost_total, ..quiet() }).map(|f| f.points);
        assert_eq!(points(999), None);
        assert_eq!(points(1_000), Some(3));
        assert_eq!(points(u64::MAX), Some(15));
    }
}
