//! One way to read two kinds of configuration: each value has a key in `config.json` and one in GGUF
//! metadata, where the architecture's name is put before it.

use crate::load::Checkpoint;
use crate::load::gguf::Metadata;
use crate::rope::{Rope, Scaling};
use crate::spec::{Activation, LayerAttention, NormKind, Placement, Spec};
use crate::{Error, Result};
use pellucid_core::HfFamily;
use serde_json::Value;

/// A checkpoint's configuration.
pub(crate) enum Config<'a> {
    /// `config.json`, or its `text_config` where there is one.
    Json {
        text: &'a Value,
        checkpoint: &'a Checkpoint,
    },
    Gguf {
        metadata: &'a Metadata,
        checkpoint: &'a Checkpoint,
    },
}

impl<'a> Config<'a> {
    pub(crate) fn of(checkpoint: &'a Checkpoint) -> Result<Self> {
        if let Some(metadata) = checkpoint.gguf() {
            return Ok(Config::Gguf { metadata, checkpoint });
        }
        let whole = checkpoint
            .config()
            .ok_or_else(|| Error::Config { what: "there is no config.json beside the weights".to_owned() })?;
        Ok(Config::Json { text: whole.get("text_config").unwrap_or(whole), checkpoint })
    }

    pub(crate) fn is_gguf(&self) -> bool {
        matches!(self, Config::Gguf { .. })
    }

    pub(crate) fn architecture(&self) -> Result<String> {
        match self {
            Config::Gguf { metadata, .. } => Ok(metadata.architecture()?.to_owned()),
            Config::Json { text, .. } => {
                let found = text.get("model_type").and_then(Value::as_str);
                let missing = || Error::Config { what: "config.json has no \"model_type\"".to_owned() };
                found.map(str::to_owned).ok_or_else(missing)
            }
        }
    }

    /// A raw value of `config.json`; none in a GGUF file.
    pub(crate) fn json(&self, key: &str) -> Option<&Value> {
        match self {
            Config::Json { text, .. } => text.get(key).filter(|v| !v.is_null()),
            Config::Gguf { .. } => None,
        }
    }

    fn gguf_key(&self, key: &str) -> Option<(String, &Metadata)> {
        match self {
            Config::Gguf { metadata, .. } => {
                let key = format!("{}.{key}", metadata.architecture().ok()?);
                metadata.has(&key).then_some((key, *metadata))
            }
            Config::Json { .. } => None,
        }
    }

    /// A number by its JSON keys (the first that is there) or its GGUF key.
    pub(crate) fn number(&self, json: &[&str], gguf: &str) -> Result<Option<f64>> {
        if let Some((key, metadata)) = self.gguf_key(gguf) {
            return match metadata.f32(&key) {
                Ok(v) => Ok(Some(f64::from(v))),
                Err(_) => Ok(Some(metadata.u32(&key)? as f64)),
            };
        }
        for key in json {
            if let Some(value) = self.json(key) {
                let number = value.as_f64();
                let bad = || Error::Config { what: format!("{key:?} is {value}, expected a number") };
                return number.map(Some).ok_or_else(bad);
            }
        }
        Ok(None)
    }

    /// A whole number.
    pub(crate) fn count(&self, json: &[&str], gguf: &str) -> Result<Option<usize>> {
        if let Some((key, metadata)) = self.gguf_key(gguf) {
            return Ok(Some(metadata.usize(&key)?));
        }
        for key in json {
            if let Some(value) = self.json(key) {
                let number = value.as_u64().and_then(|v| usize::try_from(v).ok());
                let bad = || Error::Config { what: format!("{key:?} is {value}, expected a whole number") };
                return number.map(Some).ok_or_else(bad);
            }
        }
        Ok(None)
    }

    /// A whole number that must be there.
    pub(crate) fn needed(&self, json: &[&str], gguf: &str) -> Result<usize> {
        self.count(json, gguf)?.ok_or_else(|| Error::Config {
            what: if self.is_gguf() {
                format!("no {gguf:?} in the metadata")
            } else {
                format!("no {json:?} in config.json")
            },
        })
    }

    /// A yes or no.
    pub(crate) fn flag(&self, json: &str, gguf: &str) -> Option<bool> {
        if let Some((key, metadata)) = self.gguf_key(gguf) {
            return metadata.bool(&key).ok();
        }
        self.json(json).and_then(Value::as_bool)
    }

    /// Which layers see only a window, where the configuration lists them.
    pub(crate) fn sliding_layers(&self) -> Option<Vec<bool>> {
        if let Some((key, metadata)) = self.gguf_key("attention.sliding_window_pattern") {
            return metadata.array_bool(&key).ok().map(<[bool]>::to_vec);
        }
        let kinds = self.json("layer_types")?.as_array()?;
        Some(kinds.iter().map(|kind| kind.as_str() == Some("sliding_attention")).collect())
    }

    fn checkpoint(&self) -> &Checkpoint {
        match self {
            Config::Json { checkpoint, .. } | Config::Gguf { checkpoint, .. } => checkpoint,
        }
    }

    /// A small tensor of the file as numbers, where it is there (rope divisors in GGUF files).
    pub(crate) fn list(&self, name: &str) -> Result<Option<Vec<f64>>> {
        if self.checkpoint().info(name).is_none() {
            return Ok(None);
        }
        let tensor = self.checkpoint().tensor(name, candle_core::DType::F32)?;
        Ok(Some(tensor.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f64::from).collect()))
    }

    /// The values that every family shares, with the commonest meanings for the rest: pre-norm, RMS, SiLU,
    /// gated, no caps, full attention with one rotary table still to be set.
    pub(crate) fn base(&self, hf_family: HfFamily) -> Result<Spec> {
        let d_model = self.needed(&["hidden_size", "n_embd"], "embedding_length")?;
        let n_heads = self.needed(&["num_attention_heads", "n_head"], "attention.head_count")?;
        let n_layers = self.needed(&["num_hidden_layers", "n_layer"], "block_count")?;
        let head_dim = match self.count(&["head_dim"], "attention.key_length")? {
            Some(dim) => dim,
            None if n_heads > 0 => d_model / n_heads,
            None => 0,
        };
        if n_layers > 10_000 {
            return Err(Error::Config {
                what: format!("number of layers is {n_layers}, expected 1 to 10000"),
            });
        }
        Ok(Spec {
            architecture: self.architecture()?,
            n_layers,
            d_model,
            n_heads,
            n_kv_heads: self.count(&["num_key_value_heads"], "attention.head_count_kv")?.unwrap_or(n_heads),
            head_dim,
            d_mlp: self
                .count(&["intermediate_size", "n_inner"], "feed_forward_length")?
                .unwrap_or(4 * d_model),
            vocabulary: 0, // set from the embedding's shape when the weights are read
            context: self.needed(&["max_position_embeddings", "n_positions"], "context_length")?,
            norm: NormKind::Rms,
            norm_eps: self.number(&["rms_norm_eps"], "attention.layer_norm_rms_epsilon")?.unwrap_or(1e-6),
            placement: Placement::Pre,
            parallel: false,
            qk_norm: None,
            ropes: Vec::new(),
            attention: vec![LayerAttention { rope: None, window: None }; n_layers],
            learned_positions: false,
            attn_scale: 1.0 / (head_dim as f32).sqrt(),
            attn_softcap: None,
            final_softcap: None,
            activation: self.activation(Activation::Silu)?,
            gated: true,
            embed_scale: 1.0,
            hf_family,
        })
    }

    /// The nonlinearity that `config.json` names; GGUF files leave it to the architecture.
    pub(crate) fn activation(&self, default: Activation) -> Result<Activation> {
        let keys = ["hidden_activation", "hidden_act", "activation_function"];
        let Some(name) = keys.iter().find_map(|k| self.json(k)).and_then(Value::as_str) else {
            return Ok(default);
        };
        Ok(match name {
            "silu" | "swish" => Activation::Silu,
            "gelu" => Activation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            other => {
                let what = format!("activation {other:?} is not supported (silu, gelu, gelu_new, relu are)");
                return Err(Error::Config { what });
            }
        })
    }

    /// One rotary table for all layers, as the configuration has it.
    pub(crate) fn rope(&self, spec: &Spec) -> Result<Rope> {
        let share = self.rope_value("partial_rotary_factor", None).or_else(|| self.json("rotary_pct"));
        let dim = match (share.and_then(Value::as_f64), self.count(&[], "rope.dimension_count")?) {
            (Some(share), _) => (spec.head_dim as f64 * share) as usize,
            (None, Some(dim)) => dim,
            (None, None) => spec.head_dim,
        };
        let theta = match self.rope_value("rope_theta", None).and_then(Value::as_f64) {
            Some(theta) => theta,
            None => self.number(&["rotary_emb_base"], "rope.freq_base")?.unwrap_or(10_000.0),
        };
        Ok(Rope::new(dim, theta, &self.scaling(spec, None)?))
    }

    /// A value of the rotary settings: transformers 5 keeps them under `rope_parameters` (by kind of layer
    /// in some families), earlier versions at the top level and under `rope_scaling`.
    pub(crate) fn rope_value(&self, key: &str, kind: Option<&str>) -> Option<&Value> {
        let parameters = self.json("rope_parameters");
        let of_kind = kind.and_then(|kind| parameters.and_then(|p| p.get(kind)));
        let scaling = if kind == Some("sliding_attention") { None } else { self.json("rope_scaling") };
        [of_kind, parameters, scaling]
            .into_iter()
            .flatten()
            .find_map(|from| from.get(key).filter(|v| !v.is_null()))
            .or_else(|| self.json(key))
    }

    /// How rotary positions are stretched.
    pub(crate) fn scaling(&self, spec: &Spec, kind: Option<&str>) -> Result<Scaling> {
        if self.is_gguf() {
            return self.gguf_scaling();
        }
        let number = |key: &str| self.rope_value(key, kind).and_then(Value::as_f64);
        let list = |key: &str| {
            let values = self.rope_value(key, kind).and_then(Value::as_array);
            values.map(|v| v.iter().filter_map(Value::as_f64).collect::<Vec<f64>>())
        };
        let name = self.rope_value("rope_type", kind).or_else(|| self.rope_value("type", kind));
        let missing = |key: &str| Error::Config { what: format!("rope scaling has no {key:?}") };
        let factor = || number("factor").ok_or_else(|| missing("factor"));
        let original = number("original_max_position_embeddings").unwrap_or(spec.context as f64);
        Ok(match name.and_then(Value::as_str).unwrap_or("default") {
            // dynamic scaling is the identity up to the context, and longer texts are refused
            "default" | "dynamic" => Scaling::None,
            "linear" => Scaling::Linear { factor: factor()? },
            "llama3" => Scaling::Llama3 {
                factor: factor()?,
                low: number("low_freq_factor").ok_or_else(|| missing("low_freq_factor"))?,
                high: number("high_freq_factor").ok_or_else(|| missing("high_freq_factor"))?,
                original,
            },
            "yarn" => Scaling::Yarn {
                factor: factor()?,
                fast: number("beta_fast").unwrap_or(32.0),
                slow: number("beta_slow").unwrap_or(1.0),
                original,
                attention: number("attention_factor"),
                truncate: self.rope_value("truncate", kind).and_then(Value::as_bool).unwrap_or(true),
            },
            "longrope" | "su" => {
                let stretch = number("factor").unwrap_or(spec.context as f64 / original);
                Scaling::Long {
                    short: list("short_factor").ok_or_else(|| missing("short_factor"))?,
                    long: list("long_factor").ok_or_else(|| missing("long_factor"))?,
                    original,
                    attention: number("attention_factor").unwrap_or_else(|| long_factor(stretch, original)),
                }
            }
            other => {
                let what = format!(
                    "rope scaling {other:?} is not supported (linear, dynamic, llama3, yarn, longrope are)"
                );
                return Err(Error::Config { what });
            }
        })
    }

    fn gguf_scaling(&self) -> Result<Scaling> {
        if let Some(divisors) = self.list("rope_freqs.weight")? {
            return Ok(Scaling::Divisors(divisors));
        }
        let original = self.number(&[], "rope.scaling.original_context_length")?;
        if let (Some(short), Some(long)) =
            (self.list("rope_factors_short.weight")?, self.list("rope_factors_long.weight")?)
        {
            let original = original.ok_or_else(|| Error::Config {
                what: "long rope factors without rope.scaling.original_context_length".to_owned(),
            })?;
            let attention = self.number(&[], "rope.scaling.attn_factor")?.unwrap_or(1.0);
            return Ok(Scaling::Long { short, long, original, attention });
        }
        let factor = self.number(&[], "rope.scaling.factor")?.filter(|f| *f > 0.0);
        let kind =
            self.gguf_key("rope.scaling.type").and_then(|(key, m)| m.str(&key).ok().map(str::to_owned));
        Ok(match (kind.as_deref(), factor) {
            (Some("linear"), Some(factor)) => Scaling::Linear { factor },
            (Some("yarn"), Some(factor)) => Scaling::Yarn {
                factor,
                fast: self.number(&[], "rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                slow: self.number(&[], "rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
                original: original.ok_or_else(|| Error::Config {
                    what: "yarn scaling without rope.scaling.original_context_length".to_owned(),
                })?,
                attention: None,
                truncate: true,
            },
            _ => Scaling::None,
        })
    }
}

/// Long rope's factor on cosine and sine when the configuration gives none: `√(1 + ln s / ln original)`.
fn long_factor(stretch: f64, original: f64) -> f64 {
    if stretch <= 1.0 { 1.0 } else { (1.0 + stretch.ln() / original.ln()).sqrt() }
}
