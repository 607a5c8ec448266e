//! Scores the risk of a wildlife strike: a typed function, from record to record.
//!
//! The weights are a demonstration's, not an air safety authority's.

mod factors;

wit_bindgen::generate!();

struct Score;
export!(Score);

impl Guest for Score {
    fn score(strike: Strike) -> Assessment {
        assess(&strike)
    }
}

fn assess(strike: &Strike) -> Assessment {
    let mut factors = factors::of(strike);
    // Stable, so that factors of one weight keep their order and a run is
    // reproducible to the byte.
    factors.sort_by_key(|factor| std::cmp::Reverse(factor.points));
    let risk = factors.iter().map(|factor| factor.points).sum::<u8>().min(100);
    Assessment {
        risk,
        level: match risk {
            0..30 => Level::Low,
            30..60 => Level::Moderate,
            _ => Level::High,
        },
        reasons: factors.into_iter().map(|factor| factor.reason).collect(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub fn quiet() -> Strike {
        Strike {
            date: "1990-01-08".into(),
            airport: "BARKSDALE AIR FORCE BASE ARPT".into(),
            state: "Louisiana".into(),
            operator: "MILITARY".into(),
            aircraft: "T-38A".into(),
            phase: Phase::Taxi,
            speed_knots: Some(0),
            wildlife_size: Size::Small,
            species: "Rock pigeon".into(),
            time_of_day: TimeOfDay::Day,
            damage: Damage::None,
            cost_total: 0,
        }
    }

    #[test]
    fn nothing_of_note_is_no_risk() {
        let assessment = assess(&quiet());
        assert_eq!(assessment.risk, 0);
        assert!(matches!(assessment.level, Level::Low));
        assert_eq!(assessment.reasons, [""; 0]);
    }

    #[test]
    fn the_worst_strike_is_exactly_100() {
        let assessment = assess(&Strike {
            phase: Phase::Climb,
            speed_knots: Some(350),
            wildlife_size: Size::Large,
            time_of_day: TimeOfDay::Night,
            damage: Damage::Substantial,
            cost_total: 20_000_000,
            ..quiet()
        });
        assert_eq!(assessment.risk, 100);
        assert!(matches!(assessment.level, Level::High));
    }

    #[test]
    fn the_weightiest_reason_comes_first() {
        let assessment = assess(&Strike { time_of_day: TimeOfDay::Dusk, damage: Damage::Minor, ..quiet() });
        assert_eq!(assessment.reasons, ["minor damage", "poor light"]);
    }
}
