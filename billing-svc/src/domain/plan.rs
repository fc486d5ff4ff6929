//! Plans and their catalogue.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

/// Id of the plan of whoever never subscribed.
pub const FREE_PLAN: &str = "free";

/// A plan on offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Id, such as `paid`.
    pub id: String,
    /// Name for people.
    pub title: String,
    /// What it is, in a sentence.
    pub description: String,
    /// Price for each interval, in the currency's smallest unit.
    pub price_minor_units: u32,
    /// Currency by ISO 4217.
    pub currency: String,
    /// `month` or `year`; empty for a free plan.
    pub interval: String,
    /// Entitlements it includes.
    pub features: Vec<String>,
    /// Id of the price in Stripe, where Stripe is the provider.
    pub stripe_price: Option<String>,
}

/// All plans on offer, cheapest first.
#[derive(Clone, Debug)]
pub struct Catalogue(Vec<Plan>);

impl Catalogue {
    /// A catalogue. Refused when a plan stands twice, when `free` is missing or costs something,
    /// or when a paid plan states no interval.
    pub fn new(mut plans: Vec<Plan>) -> Result<Self, String> {
        let mut seen = BTreeSet::new();
        for plan in &plans {
            if !seen.insert(plan.id.as_str()) {
                return Err(format!("plan {} stands twice", plan.id));
            }
            let interval_known = matches!(plan.interval.as_str(), "month" | "year");
            if plan.price_minor_units > 0 && !interval_known {
                return Err(format!(
                    "plan {} costs something: state interval month or year",
                    plan.id
                ));
            }
        }
        match plans.iter().find(|plan| plan.id == FREE_PLAN) {
            Some(plan) if plan.price_minor_units == 0 => {}
            Some(_) => return Err("plan free must cost nothing".into()),
            None => return Err("plan free is missing".into()),
        }
        plans.sort_by_key(|plan| plan.price_minor_units);
        Ok(Self(plans))
    }

    /// The plans, cheapest first.
    pub fn plans(&self) -> &[Plan] {
        &self.0
    }

    /// The plan with this id.
    pub fn get(&self, id: &str) -> Option<&Plan> {
        self.0.iter().find(|plan| plan.id == id)
    }

    /// The plan that is sold under this Stripe price.
    pub fn by_stripe_price(&self, price: &str) -> Option<&Plan> {
        self.0.iter().find(|plan| plan.stripe_price.as_deref() == Some(price))
    }

    /// Stands for the plans and what they include: another one when these change.
    pub fn fingerprint(&self) -> String {
        let mut digest = Sha256::new();
        for plan in &self.0 {
            digest.update(&plan.id);
            for feature in &plan.features {
                digest.update([1]);
                digest.update(feature);
            }
            digest.update([0]);
        }
        hex::encode(digest.finalize())
    }

    /// What a plan includes. A plan that has left the catalogue includes what `free` does.
    pub fn features(&self, plan: &str) -> &[String] {
        let plan = self.get(plan).or_else(|| self.get(FREE_PLAN));
        plan.map_or(&[], |plan| plan.features.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(id: &str, price: u32, interval: &str) -> Plan {
        Plan {
            id: id.into(),
            title: id.into(),
            description: String::new(),
            price_minor_units: price,
            currency: "EUR".into(),
            interval: interval.into(),
            features: vec![format!("{id}.feature")],
            stripe_price: Some(format!("price_{id}")),
        }
    }

    #[test]
    fn unsound_catalogues_are_refused_by_name() {
        let cases = [
            (vec![], "plan free is missing"),
            (vec![plan("free", 1, "month")], "plan free must cost nothing"),
            (vec![plan("free", 0, ""), plan("free", 0, "")], "plan free stands twice"),
            (vec![plan("free", 0, ""), plan("paid", 9, "week")], "plan paid costs something"),
        ];
        for (plans, expected) in cases {
            let fault = Catalogue::new(plans).expect_err(expected);
            assert!(fault.contains(expected), "{fault}");
        }
    }

    #[test]
    fn the_fingerprint_is_that_of_plans_and_what_they_include() {
        let of = |plans| Catalogue::new(plans).expect("sound").fingerprint();
        let before = of(vec![plan("free", 0, "")]);
        let mut included = plan("free", 0, "");
        assert_eq!(of(vec![Plan { title: "Free".into(), ..included.clone() }]), before);
        included.features.push("more".into());
        assert_ne!(of(vec![included]), before);
        assert_ne!(of(vec![plan("free", 0, ""), plan("paid", 9, "month")]), before);
    }

    #[test]
    fn a_plan_that_left_the_catalogue_includes_what_free_does() {
        let catalogue =
            Catalogue::new(vec![plan("paid", 9, "month"), plan("free", 0, "")]).expect("sound");
        assert_eq!(catalogue.plans()[0].id, "free");
        assert_eq!(catalogue.features("paid"), ["paid.feature"]);
        assert_eq!(catalogue.features("gone"), ["free.feature"]);
        assert_eq!(
            catalogue.by_stripe_price("price_paid").map(|plan| plan.id.as_str()),
            Some("paid")
        );
    }
}
