//! What the tensors are called in each kind of file. `{}` stands for the layer; `.weight` or `.bias` follows.

/// Tensor names, without the prefix that a file may put before all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    pub(crate) embed: &'static str,
    pub(crate) positions: Option<&'static str>,
    pub(crate) layer: &'static str,
    pub(crate) attn_norm: &'static str,
    pub(crate) q: &'static str,
    pub(crate) k: &'static str,
    pub(crate) v: &'static str,
    pub(crate) qkv: &'static str,
    pub(crate) q_norm: &'static str,
    pub(crate) k_norm: &'static str,
    pub(crate) o: &'static str,
    pub(crate) attn_post_norm: &'static str,
    pub(crate) mlp_norm: &'static str,
    pub(crate) gate: &'static str,
    pub(crate) up: &'static str,
    pub(crate) gate_up: &'static str,
    pub(crate) down: &'static str,
    pub(crate) mlp_post_norm: &'static str,
    pub(crate) final_norm: &'static str,
    /// The unembedding stands outside the prefix.
    pub(crate) head: &'static str,
    /// Prefixes to try, the commonest first.
    pub(crate) prefixes: &'static [&'static str],
}

/// llama and what is named after it.
pub(crate) const LLAMA: Names = Names {
    embed: "embed_tokens",
    positions: None,
    layer: "layers.{}.",
    attn_norm: "input_layernorm",
    q: "self_attn.q_proj",
    k: "self_attn.k_proj",
    v: "self_attn.v_proj",
    qkv: "self_attn.qkv_proj",
    q_norm: "self_attn.q_norm",
    k_norm: "self_attn.k_norm",
    o: "self_attn.o_proj",
    attn_post_norm: "post_attention_layernorm",
    mlp_norm: "post_attention_layernorm",
    gate: "mlp.gate_proj",
    up: "mlp.up_proj",
    gate_up: "mlp.gate_up_proj",
    down: "mlp.down_proj",
    mlp_post_norm: "post_feedforward_layernorm",
    final_norm: "norm",
    head: "lm_head",
    prefixes: &["model.", "", "language_model.model.", "model.language_model."],
};

/// Gemma 2 and 3: four norms.
pub(crate) const SANDWICH: Names = Names { mlp_norm: "pre_feedforward_layernorm", ..LLAMA };

pub(crate) const GPT2: Names = Names {
    embed: "wte",
    positions: Some("wpe"),
    layer: "h.{}.",
    attn_norm: "ln_1",
    qkv: "attn.c_attn",
    o: "attn.c_proj",
    mlp_norm: "ln_2",
    up: "mlp.c_fc",
    down: "mlp.c_proj",
    final_norm: "ln_f",
    prefixes: &["transformer.", ""],
    ..LLAMA
};

pub(crate) const NEOX: Names = Names {
    embed: "embed_in",
    attn_norm: "input_layernorm",
    qkv: "attention.query_key_value",
    o: "attention.dense",
    mlp_norm: "post_attention_layernorm",
    up: "mlp.dense_h_to_4h",
    down: "mlp.dense_4h_to_h",
    final_norm: "final_layer_norm",
    head: "embed_out",
    prefixes: &["gpt_neox.", ""],
    ..LLAMA
};

/// Every GGUF file.
pub(crate) const GGUF: Names = Names {
    embed: "token_embd",
    positions: Some("position_embd"),
    layer: "blk.{}.",
    attn_norm: "attn_norm",
    q: "attn_q",
    k: "attn_k",
    v: "attn_v",
    qkv: "attn_qkv",
    q_norm: "attn_q_norm",
    k_norm: "attn_k_norm",
    o: "attn_output",
    attn_post_norm: "post_attention_norm",
    mlp_norm: "ffn_norm",
    gate: "ffn_gate",
    up: "ffn_up",
    gate_up: "ffn_up",
    down: "ffn_down",
    mlp_post_norm: "post_ffw_norm",
    final_norm: "output_norm",
    head: "output",
    prefixes: &[""],
};
