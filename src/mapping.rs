//! stand-in until merged
use crate::exposition::family::FamilyType;
#[derive(Debug)]
pub struct Mapping {
    rules: Vec<Rule>,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub u32);
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epoch {
    Process,
    Object,
    Auto,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistogramMode {
    Buckets,
    Sums,
}
#[derive(Debug)]
pub struct Rule {
    pub key: String,
    pub kind: Option<FamilyType>,
    pub histogram: HistogramMode,
    pub epoch: Epoch,
    pub unit: Option<String>,
    pub description: Option<String>,
}
pub struct Hit<'m> {
    pub rule: &'m Rule,
    pub id: RuleId,
    pub name: String,
    pub precedence: usize,
}
pub enum Find<'m> {
    Mapped(Hit<'m>),
    Excluded,
    Unmapped,
}
impl Mapping {
    pub fn namespace(&self) -> &str {
        ""
    }
    pub fn find(&self, _family: &str, _kind: FamilyType) -> Find<'_> {
        Find::Unmapped
    }
    pub fn rule(&self, id: RuleId) -> &Rule {
        &self.rules[id.0 as usize]
    }
    pub fn labels(&self, _rule: RuleId, _labels: &[(&str, &str)]) -> Vec<(String, String)> {
        Vec::new()
    }
}
