//! What is there at the start: objects made up, or read from lists that people saved.

use std::collections::BTreeSet;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};

use crate::mock::Random;
use crate::mock::kubernetes::Params;
use crate::mock::kubernetes::objects::{Recipe, ca, pod, vm, vmi};
use crate::mock::kubernetes::resource::Resource;
use crate::mock::kubernetes::store::Store;

/// Fills a store. Objects that are given replace all that would be made up of their kind.
///
/// # Errors
/// An object that is of no known kind, or has no name.
pub fn fill(store: &mut Store, params: &Params) -> anyhow::Result<()> {
    let Params { vms, vmis, pods, ca_bundle, objects, realistic, seed, .. } = params;
    let mut given = Vec::new();
    let mut kinds = BTreeSet::new();
    for object in objects {
        unpack(object, &mut given, &mut kinds)?;
    }
    let mut random = Random::new(*seed);
    let recipe = |at| Recipe { at, serial: at, realistic: *realistic };
    let made = (0..*vms).map(|at| (Resource::Vms, vm(recipe(at))));
    let made = made.chain((0..*vmis).map(|at| (Resource::Vmis, vmi(recipe(at), &mut random))));
    let made = made.chain((0..*pods).map(|at| (Resource::Pods, pod(at))));
    let made = made.chain(ca_bundle.iter().map(|bundle| (Resource::ConfigMaps, ca(bundle))));
    for (resource, object) in made.filter(|(resource, _)| !kinds.contains(resource)).chain(given) {
        store.put(resource, object).map_err(|problem| anyhow!("{}: {problem}", resource.kind()))?;
    }
    store.begin();
    Ok(())
}

/// A list's items, or a single object. What an item does not say of its kind, its list says.
fn unpack(object: &Value, found: &mut Vec<(Resource, Value)>, kinds: &mut BTreeSet<Resource>) -> anyhow::Result<()> {
    let kind = object["kind"].as_str().context("an object without `kind`")?;
    let Some(of_items) = kind.strip_suffix("List") else {
        let resource = known(kind)?;
        kinds.insert(resource);
        found.push((resource, object.clone()));
        return Ok(());
    };
    if !of_items.is_empty() {
        kinds.insert(known(of_items)?);
    }
    for item in object["items"].as_array().into_iter().flatten() {
        let mut item = item.clone();
        if item["kind"].is_null() && item.is_object() {
            item["kind"] = json!(of_items);
        }
        unpack(&item, found, kinds)?;
    }
    Ok(())
}

fn known(kind: &str) -> anyhow::Result<Resource> {
    Resource::of_kind(kind).with_context(|| format!("the mock knows no `{kind}`"))
}
