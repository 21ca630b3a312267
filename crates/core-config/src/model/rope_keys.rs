//! Rotary positions as `config.json` spells them, read as transformers 5.23 does (`RotaryEmbeddingConfigMixin`, and
//! `Olmo3Config` for OLMo-3): `rope_scaling` before `rope_parameters`, theta inside of it before theta beside it,
//! `rope_type` before `type`. Keys that the type does not use are left alone.

use serde_json::{Map, Value};

use super::{
    ModelConfigError, RopeScaling, Rotary,
    architecture::{Architecture, Window},
};

type Result<T> = std::result::Result<T, ModelConfigError>;

const SCALING: &str = "rope_scaling";
const PARAMETERS: &str = "rope_parameters";
const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";
const THETA: &str = "rope_theta";
const ORIGINAL: &str = "original_max_position_embeddings";

/// Rotary positions of layers that see everything, and of those that see a window.
pub(super) fn read(
    architecture: &Architecture,
    json: &Map<String, Value>,
    max_position_embeddings: usize,
) -> Result<(Rotary, Rotary)> {
    let keys = Keys { json, context: max_position_embeddings as f64, theta: architecture.rope_theta.into() };
    if architecture.window == Window::ThreeOfFour {
        return keys.by_layer_type(architecture);
    }
    let rope = keys.object(SCALING)?.map(|rope| (SCALING, rope));
    let rope = match rope {
        Some(given) => Some(given),
        None => keys.object(PARAMETERS)?.map(|rope| (PARAMETERS, rope)),
    };
    let (key, empty) = (rope.map_or(PARAMETERS, |(key, _)| key), Map::new());
    let rope = rope.map_or(&empty, |(_, rope)| rope);
    if is_by_layer_type(rope) {
        return Err(ModelConfigError::unsupported(format!(
            "{key} by type of layer is not supported for {}; give one set of parameters for all layers",
            architecture.model_type
        )));
    }
    let theta = number(rope, THETA, key)?.or(number(json, THETA, "config.json")?).unwrap_or(keys.theta);
    // Where both say it, transformers lets the one beside the set win.
    let original = number(json, ORIGINAL, "config.json")?.or(number(rope, ORIGINAL, key)?);
    let one = Set { key, rope, theta, original, context: keys.context, truncate: truncate(rope) }.rotary()?;
    Ok((one.clone(), one))
}

fn is_by_layer_type(rope: &Map<String, Value>) -> bool {
    rope.contains_key(FULL) || rope.contains_key(SLIDING)
}

/// transformers takes null for no.
fn truncate(rope: &Map<String, Value>) -> bool {
    rope.get("truncate").is_none_or(|value| value.as_bool().unwrap_or(false))
}

/// The keys of a `config.json` that say something of rotary positions.
struct Keys<'a> {
    json: &'a Map<String, Value>,
    context: f64,
    /// The architecture's default.
    theta: f64,
}

impl<'a> Keys<'a> {
    /// The object at `key`, unless it is absent, null or empty.
    fn object(&self, key: &str) -> Result<Option<&'a Map<String, Value>>> {
        match self.json.get(key) {
            None | Some(Value::Null | Value::Bool(false)) => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object).filter(|object| !object.is_empty())),
            Some(other) => {
                Err(ModelConfigError::invalid(format!("{key} = {other}; it must be an object or null")))
            }
        }
    }

    /// OLMo-3: layers that see a window have parameters of their own, and `rope_scaling` is that of the others.
    fn by_layer_type(&self, architecture: &Architecture) -> Result<(Rotary, Rotary)> {
        let (scaling, parameters) = (self.object(SCALING)?, self.object(PARAMETERS)?);
        let beside = number(self.json, THETA, "config.json")?;
        if let Some(flat) = parameters.filter(|parameters| !is_by_layer_type(parameters)) {
            return self.flat_of_olmo3(architecture, flat, scaling.is_some());
        }
        let of = |kind: &str| match parameters.and_then(|parameters| parameters.get(kind)) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(rope)) => Ok(rope.clone()),
            Some(other) => {
                Err(ModelConfigError::invalid(format!("{PARAMETERS}.{kind} = {other}; it must be an object")))
            }
        };
        let (mut full, sliding) = (of(FULL)?, of(SLIDING)?);
        full.extend(scaling.cloned().unwrap_or_default());
        let truncate = parameters.is_none_or(truncate);
        let rotary = |rope: &Map<String, Value>, otherwise: f64| {
            let theta = number(rope, THETA, PARAMETERS)?.unwrap_or(otherwise);
            let original = number(rope, ORIGINAL, PARAMETERS)?;
            Set { key: PARAMETERS, rope, theta, original, context: self.context, truncate }.rotary()
        };
        // transformers gives the theta beside the sets to the layers that see everything alone.
        Ok((rotary(&full, beside.unwrap_or(self.theta))?, rotary(&sliding, self.theta)?))
    }

    /// transformers does not look at one set for all layers of OLMo-3; it is taken where it says nothing else.
    fn flat_of_olmo3(
        &self,
        architecture: &Architecture,
        rope: &Map<String, Value>,
        with_scaling: bool,
    ) -> Result<(Rotary, Rotary)> {
        let theta = number(rope, THETA, PARAMETERS)?.unwrap_or(self.theta);
        let original = number(rope, ORIGINAL, PARAMETERS)?;
        let set =
            Set { key: PARAMETERS, rope, theta, original, context: self.context, truncate: truncate(rope) };
        let meant = set.rotary()?;
        let beside = number(self.json, THETA, "config.json")?.unwrap_or(self.theta);
        let without = |theta| Rotary { theta, scaling: RopeScaling::Unscaled };
        let read = (without(beside), without(self.theta));
        if with_scaling || meant != read.0 || meant != read.1 {
            return Err(ModelConfigError::unsupported(format!(
                "{PARAMETERS} of {} is one set for all layers, which transformers does not look at; write it as \
                 {{\"{FULL}\": {{…}}, \"{SLIDING}\": {{…}}}}, or as {SCALING}",
                architecture.model_type
            )));
        }
        Ok(read)
    }
}

/// One set of rotary parameters.
struct Set<'a> {
    /// Where it stands, for messages.
    key: &'a str,
    rope: &'a Map<String, Value>,
    theta: f64,
    /// The context before it was stretched, where somebody says it.
    original: Option<f64>,
    /// `max_position_embeddings`.
    context: f64,
    truncate: bool,
}

impl Set<'_> {
    fn rotary(&self) -> Result<Rotary> {
        if number(self.rope, "partial_rotary_factor", self.key)?
            .is_some_and(|factor| (factor - 1.0).abs() > f64::EPSILON)
        {
            return Err(ModelConfigError::unsupported("partial_rotary_factor is not supported"));
        }
        Ok(Rotary { theta: self.theta, scaling: self.scaling()? })
    }

    fn kind(&self) -> Result<&str> {
        let named = self.rope.get("rope_type").or(self.rope.get("type"));
        named.map_or(Ok("default"), |kind| {
            kind.as_str().ok_or_else(|| {
                ModelConfigError::invalid(format!(
                    "the rope_type of {} is {kind}; it must be a word",
                    self.key
                ))
            })
        })
    }

    fn scaling(&self) -> Result<RopeScaling> {
        let kind = self.kind()?;
        let optional = |key: &str| number(self.rope, key, self.key);
        let needed = |key: &str| {
            let missing = || ModelConfigError::invalid(format!("rope_type `{kind}` needs {key}"));
            optional(key)?.ok_or_else(missing)
        };
        let original = self.original.unwrap_or(self.context);
        match kind {
            "default" => Ok(RopeScaling::Unscaled),
            "linear" => Ok(RopeScaling::Linear { factor: needed("factor")? }),
            "llama3" => Ok(RopeScaling::Llama3 {
                factor: needed("factor")?,
                low_freq_factor: needed("low_freq_factor")?,
                high_freq_factor: needed("high_freq_factor")?,
                original,
            }),
            "yarn" => {
                let factor = optional("factor")?.unwrap_or(self.context / original);
                let mscales = (optional("mscale")?, optional("mscale_all_dim")?);
                let attention_factor = match (optional("attention_factor")?, mscales) {
                    (Some(given), _) => given,
                    (None, (Some(mscale), Some(all))) => {
                        RopeScaling::yarn_attention_factor(factor, mscale)
                            / RopeScaling::yarn_attention_factor(factor, all)
                    }
                    _ => RopeScaling::yarn_attention_factor(factor, 1.0),
                };
                Ok(RopeScaling::Yarn {
                    factor,
                    original,
                    beta_fast: optional("beta_fast")?.unwrap_or(32.0),
                    beta_slow: optional("beta_slow")?.unwrap_or(1.0),
                    attention_factor,
                    truncate: self.truncate,
                })
            }
            other => Err(ModelConfigError::unsupported(format!(
                "rope_type `{other}` is not supported; supported: default, linear, llama3, yarn"
            ))),
        }
    }
}

/// The number at `key`, which must be positive. Zero and null stand for "not given", but not for a theta.
fn number(object: &Map<String, Value>, key: &str, place: &str) -> Result<Option<f64>> {
    match object.get(key) {
        None => Ok(None),
        Some(Value::Null) if key != THETA => Ok(None),
        Some(value) => match value.as_f64() {
            Some(0.0) if key != THETA => Ok(None),
            Some(number) if number.is_finite() && number > 0.0 => Ok(Some(number)),
            _ => Err(ModelConfigError::invalid(format!(
                "{key} of {place} is {value}; it must be a number above 0"
            ))),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rotaries(model_type: &str, keys: &Value) -> Result<(Rotary, Rotary)> {
        let architecture = Architecture::of_model_type(model_type).unwrap();
        read(architecture, keys.as_object().unwrap(), 256)
    }

    fn rotary(model_type: &str, keys: &Value) -> Rotary {
        rotaries(model_type, keys).unwrap().0
    }

    #[test]
    fn every_spelling_of_the_same_rotary_positions_is_read_alike() {
        let expected = Rotary { theta: 5e5, scaling: RopeScaling::Linear { factor: 4.0 } };
        for keys in [
            json!({"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4}}),
            json!({"rope_theta": 5e5, "rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
            json!({"rope_theta": 5e5, "rope_scaling": {"type": "linear", "rope_type": "linear", "factor": 4.0}}),
            // `rope_type` before `type`.
            json!({"rope_theta": 5e5, "rope_scaling": {"type": "dynamic", "rope_type": "linear", "factor": 4.0}}),
            json!({"rope_scaling": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e5}}),
            json!({"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e5}}),
            json!({"rope_theta": 5e5, "rope_parameters": {"rope_type": "linear", "factor": 4.0}}),
            // Theta inside before theta beside.
            json!({"rope_theta": 1e4, "rope_parameters": {"type": "linear", "factor": 4.0, "rope_theta": 5e5}}),
            json!({"rope_theta": 1e4, "rope_scaling": {"type": "linear", "factor": 4.0, "rope_theta": 5e5}}),
            // `rope_scaling` before `rope_parameters`, unless it is empty.
            json!({"rope_scaling": {"type": "linear", "factor": 4.0, "rope_theta": 5e5},
                "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}),
            json!({"rope_scaling": {}, "rope_parameters": {"type": "linear", "factor": 4.0, "rope_theta": 5e5}}),
            json!({"rope_scaling": null, "rope_parameters": {"type": "linear", "factor": 4.0, "rope_theta": 5e5}}),
            // Keys that the type does not use.
            json!({"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4.0, "finetuned": true,
                "attention_factor": "none", "low_freq_factor": [1], "mscale": null}}),
        ] {
            assert_eq!(rotary("llama", &keys), expected, "{keys}");
        }
    }

    #[test]
    fn rope_parameters_beside_rope_scaling_are_not_looked_at() {
        let keys = json!({"rope_scaling": {"type": "linear", "factor": 4.0},
            "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}});
        assert_eq!(rotary("olmo2", &keys).theta.to_bits(), 1e4f64.to_bits());
    }

    #[test]
    fn the_context_before_stretching_falls_back_to_that_of_the_model() {
        let llama3 =
            json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0});
        let original = |keys: &Value| match rotary("llama", keys).scaling {
            RopeScaling::Llama3 { original, .. } => original as usize,
            other => panic!("{other:?}"),
        };
        assert_eq!(original(&json!({"rope_scaling": llama3})), 256);
        let mut inside = llama3.clone();
        inside[ORIGINAL] = 64.into();
        assert_eq!(original(&json!({"rope_scaling": inside})), 64);
        assert_eq!(original(&json!({"rope_scaling": inside, ORIGINAL: 32})), 32);
    }

    #[test]
    fn olmo3_has_parameters_by_type_of_layer() {
        let without = |theta| Rotary { theta, scaling: RopeScaling::Unscaled };
        let of = |keys: &Value| rotaries("olmo3", keys).unwrap();
        assert_eq!(of(&json!({})), (without(5e5), without(5e5)));
        assert_eq!(of(&json!({"rope_theta": 1e4})), (without(1e4), without(5e5)));
        let yarn = json!({"type": "yarn", "rope_type": "yarn", "factor": 8.0, ORIGINAL: 32});
        let (full, sliding) = of(&json!({"rope_theta": 5e5, "rope_scaling": yarn}));
        assert!(matches!(full.scaling, RopeScaling::Yarn { .. }));
        assert_eq!(sliding, without(5e5));
        let nested =
            json!({"rope_parameters": {FULL: yarn, SLIDING: {"rope_type": "default", "rope_theta": 5e5}}});
        assert_eq!(of(&nested), (full, sliding));
        let both = json!({"rope_parameters": {FULL: {"rope_theta": 7.0}, SLIDING: {"rope_theta": 9.0}}});
        assert_eq!(of(&both), (without(7.0), without(9.0)));
    }

    #[test]
    fn what_transformers_would_not_look_at_is_refused() {
        let refusal = |model_type, keys: &Value| rotaries(model_type, keys).unwrap_err().message;
        let flat = json!({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}});
        assert!(refusal("olmo3", &flat).contains("one set for all layers"));
        let same = json!({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}});
        assert!(rotaries("olmo3", &same).is_ok());
        let nested = json!({"rope_parameters": {FULL: {"rope_theta": 5e5}}});
        for model_type in ["llama", "olmo2", "mistral", "qwen3"] {
            assert!(refusal(model_type, &nested).contains("by type of layer"));
        }
    }

    #[test]
    fn numbers_that_are_none_are_named() {
        let refusal = |keys: &Value| rotaries("llama", keys).unwrap_err().message;
        for (keys, named) in [
            (json!({"rope_theta": null}), "rope_theta of config.json is null"),
            (json!({"rope_theta": "500000"}), "rope_theta of config.json is \"500000\""),
            (json!({"rope_parameters": {"rope_theta": 0}}), "rope_theta of rope_parameters is 0"),
            (json!({"rope_scaling": {"type": "linear"}}), "needs factor"),
            (json!({"rope_scaling": {"type": "linear", "factor": -2}}), "factor of rope_scaling is -2"),
            (json!({"rope_scaling": {"rope_type": null, "factor": 2}}), "rope_type of rope_scaling is null"),
            (json!({"rope_scaling": {"rope_type": "mrope", "factor": 2}}), "mrope"),
            (json!({"rope_scaling": "linear"}), "must be an object"),
        ] {
            assert!(refusal(&keys).contains(named), "{}", refusal(&keys));
        }
    }
}
