//! Divides worker processes among those that need them: the groups of a pool, or the tasks of a run.

/// Needs of one group.
#[derive(Clone, Copy, Debug)]
pub struct WorkerDemand {
    /// Number of its items that could each occupy a worker.
    pub need: usize,
    /// Number of workers that it was last allowed.
    pub held: usize,
    /// Position of its last call in the order of all calls; the group with the latest goes first.
    pub used: u64,
}

/// Divides `budget` workers among groups, and returns the number for each.
///
/// A group with items gets at least one worker, even beyond the budget: nothing may wait forever. The rest is divided
/// in turns among those that need more. Workers that nobody needs stay with the groups that have them, the last called
/// first, so that calls that come back find their workers.
pub fn share(budget: usize, claims: &[WorkerDemand]) -> Vec<usize> {
    let mut shares: Vec<usize> = claims.iter().map(|claim| claim.need.min(1)).collect();
    let mut left = budget.saturating_sub(shares.iter().sum());
    let needy =
        |shares: &[usize]| -> Vec<usize> { (0..claims.len()).filter(|&i| claims[i].need > shares[i]).collect() };
    let mut still = needy(&shares);
    while left > 0 && !still.is_empty() {
        for &i in still.iter().take(left) {
            shares[i] += 1;
        }
        left = left.saturating_sub(still.len());
        still = needy(&shares);
    }
    let mut latest: Vec<(usize, &WorkerDemand)> = claims.iter().enumerate().collect();
    latest.sort_by_key(|(_, claim)| (claim.need == 0, u64::MAX - claim.used));
    for (i, claim) in latest {
        let kept = claim.held.saturating_sub(shares[i]).min(left);
        shares[i] += kept;
        left -= kept;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(need: usize, held: usize, used: u64) -> WorkerDemand {
        WorkerDemand { need, held, used }
    }

    #[test]
    fn one_group_gets_what_it_needs_and_keeps_what_it_has() {
        assert_eq!(share(4, &[claim(4, 0, 1)]), [4]);
        assert_eq!(share(4, &[claim(1, 3, 1)]), [3]);
        assert_eq!(share(4, &[claim(0, 3, 1)]), [3]);
    }

    #[test]
    fn groups_in_need_share_alike() {
        assert_eq!(share(4, &[claim(4, 4, 1), claim(4, 0, 2)]), [2, 2]);
        assert_eq!(share(5, &[claim(1, 0, 1), claim(5, 0, 2)]), [1, 4]);
    }

    #[test]
    fn the_idle_group_that_was_called_last_keeps_its_workers() {
        assert_eq!(share(4, &[claim(0, 2, 1), claim(0, 2, 2), claim(2, 0, 3)]), [0, 2, 2]);
    }

    proptest! {
        #[test]
        fn whoever_has_items_gets_a_worker_and_no_more_are_given_than_there_are(
            budget in 1..20usize,
            claims in prop::collection::vec((0..20usize, 0..20usize, 0..9u64), 0..12),
        ) {
            let claims: Vec<WorkerDemand> =
                claims.into_iter().map(|(need, held, used)| claim(need.min(budget), held, used)).collect();
            let shares = share(budget, &claims);
            let active = claims.iter().filter(|c| c.need > 0).count();
            prop_assert!(shares.iter().sum::<usize>() <= budget.max(active));
            for (claim, &share) in claims.iter().zip(&shares) {
                prop_assert!(claim.need == 0 || share > 0);
                prop_assert!(share <= claim.need.max(claim.held));
            }
            // No group is short of workers while another has more than it needs.
            if claims.iter().zip(&shares).any(|(c, &s)| s < c.need) && active <= budget {
                prop_assert!(claims.iter().zip(&shares).all(|(c, &s)| s <= c.need));
            }
        }
    }
}
