#include "launch/probe/probe.h"

#include "launch/command.h"
#include "launch/commands/config_options.h"

#include <ATen/Parallel.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <memory>

namespace nabla {

namespace {

struct ProbeCommand {
  ProbeOptions options;
  int threads = 0;                         // 0: as many as torch takes
  CLI::App* verb = nullptr;                // the one that was asked for
  std::shared_ptr<ConfigSources> sources;  // null for verbs that take no configuration
};

// Facts go to standard output as one JSON object, of several texts as one a line; nothing else does.
int run_probe(const ProbeCommand& command, nlohmann::ordered_json (*verb)(const ProbeOptions&)) {
  if (command.threads > 0) at::set_num_threads(command.threads);
  ProbeOptions options = command.options;
  if (command.sources) options.config = load_config({command.sources->files, assignments_of(*command.verb)});
  const nlohmann::ordered_json facts = verb(options);
  for (const auto& object : facts.is_array() ? facts : nlohmann::ordered_json::array({facts})) std::puts(object.dump().c_str());
  return 0;
}

// Adds the verbs and their options.
class ProbeVerbs {
 public:
  ProbeVerbs(CLI::App& probe, Invocation& invocation) : probe_(probe), invocation_(invocation) {}

  void add_verb(const std::string& name, const std::string& help, nlohmann::ordered_json (*verb)(const ProbeOptions&),
                const std::string& footer) {
    command_ = std::make_shared<ProbeCommand>();
    verb_ = probe_.add_subcommand(name, help);
    command_->verb = verb_;
    verb_->footer(footer);
    verb_->callback(
        [&invocation = invocation_, command = command_, verb] { invocation.run = [command, verb] { return run_probe(*command, verb); }; });
    verb_->add_option("--device", options().device, "cpu or cuda:<index>")->capture_default_str()->type_name("NAME");
    verb_->add_option("--dtype", options().dtype, "Weights and arithmetic: float32, float64 or bfloat16")
        ->capture_default_str()
        ->type_name("NAME");
    verb_->add_option("--threads", command_->threads, "Threads (default: all cores)")->check(CLI::PositiveNumber);
  }
  void add_input() { verb_->add_option("--in", options().in, "Input tensors, a safetensors file")->required()->type_name("FILE"); }
  void add_output() {
    verb_->add_option("--out", options().out, "Where output tensors go, a safetensors file")->required()->type_name("FILE");
  }
  CLI::Option* add_model(const std::string& help = "Model: folder in diffusers' layout, single file or name in the hub cache") {
    return verb_->add_option("--model", options().model, help)->type_name("DIR");
  }
  CLI::Option* add_lora() {
    verb_->add_option("--lora-scale", options().lora_scale, "Multiplies the LoRA")->capture_default_str();
    return verb_->add_option("--lora", options().lora, "LoRA of the UNet, of any dialect (peft, diffusers, kohya)")->type_name("FILE");
  }
  void add_table() {
    verb_->add_option("--sampler", options().sampler, "ddim or sde-dpm-solver++")->capture_default_str()->type_name("NAME");
    verb_->add_option("--steps", options().steps, "Sampling steps")->capture_default_str();
    verb_->add_option("--eta", options().eta, "Noise, from 0 (DDIM) to 1 (DDPM)")->capture_default_str();
  }
  CLI::Option* add_flow() {
    return verb_->add_option("--flow", options().flow, "Flow network: a folder of a UNet, or its weights beside config.json")
        ->type_name("DIR|FILE");
  }
  void add_reward() {
    verb_->add_option("--reward", options().reward, "aesthetic_score, lantern or mean-red")->required()->type_name("NAME");
    verb_->add_option("--reward-model", options().reward_model, "Weights of aesthetic_score (default: experiment.reward_model)")
        ->type_name("DIR");
    verb_->add_option("--prompts", options().prompts, "Prompts, one a line and picture; lines end at \\n alone")->type_name("FILE");
  }
  void add_gradient() {
    verb_->add_option("--gradient", options().gradient, "policy_fl, reference_fl or terminal (default: model.gradient)")->type_name("NAME");
  }
  void add_config() { command_->sources = add_config_options(*verb_); }
  void add_texts() {
    verb_->add_option("--tokenizer", options().tokenizer, "clip (Stable Diffusion), clip-open (open_clip, HPSv2) or bert (ImageReward)")
        ->capture_default_str()
        ->type_name("NAME");
    verb_
        ->add_option("--vocabulary", options().vocabulary,
                     "Vocabulary in place of the model's: a folder with vocab.json and merges.txt, CLIP's bpe_simple_vocab_16e6.txt[.gz], "
                     "or for bert vocab.txt")
        ->type_name("FILE|DIR");
    verb_->add_option("--text", options().text, "One text");
    verb_->add_option("--file", options().file, "Texts, one a line; lines end at \\n alone")->type_name("FILE");
  }

 private:
  ProbeOptions& options() { return command_->options; }

  CLI::App& probe_;
  Invocation& invocation_;
  CLI::App* verb_ = nullptr;  // the verb that is being described
  std::shared_ptr<ProbeCommand> command_;
};

constexpr const char* kNoiseTensors =
    "In: sample [N,C,h,w], timestep [N] int64, encoder_hidden_states [N,L,D]; optionally cotangent [N,C,h,w].\n"
    "Out: prediction [N,C,h,w]; with a cotangent its vector-Jacobian products grad_sample and grad_encoder_hidden_states.\n";

void add_noise_verbs(ProbeVerbs& verbs) {
  verbs.add_verb(
      "unet", "Noise prediction of the UNet, with or without a LoRA", probe_unet,
      std::string(kNoiseTensors) +
          "Examples:\n  nabla probe unet --model assets/pocket --in in.safetensors --out out.safetensors\n"
          "  nabla probe unet --model assets/pocket --lora lora.safetensors --dtype float64 --in in.safetensors --out out.safetensors");
  verbs.add_input();
  verbs.add_output();
  verbs.add_model()->required();
  verbs.add_lora();
  verbs.add_verb(
      "flow", "Output of a flow network", probe_flow,
      std::string(kNoiseTensors) +
          "Examples:\n  nabla probe flow --flow flow --in in.safetensors --out out.safetensors\n"
          "  nabla probe flow --flow flow/diffusion_pytorch_model.safetensors --dtype float64 --in in.safetensors --out out.safetensors");
  verbs.add_input();
  verbs.add_output();
  verbs.add_flow()->required();
  verbs.add_model("Base model; a flow network of other channels or context width than its UNet's is refused");
  verbs.add_verb("lora-merge", "Weights of the UNet with a LoRA merged in", probe_lora_merge,
                 "Out: \"<module>.weight\" of every adapted layer.\nExamples:\n"
                 "  nabla probe lora-merge --model assets/pocket --lora lora.safetensors --out merged.safetensors\n"
                 "  nabla probe lora-merge --model assets/pocket --lora lora.safetensors --lora-scale 0.5 --out merged.safetensors");
  verbs.add_output();
  verbs.add_model()->required();
  verbs.add_lora()->required();
}

void add_objective_verbs(ProbeVerbs& verbs) {
  verbs.add_verb(
      "terms", "What an actor attaches to transitions", probe_terms,
      "In: x, y [N,C,h,w], timestep, next_timestep [N] int64, is_terminal [N] uint8; with --gradient terminal also terminal_latents "
      "[N,C,h,w].\n"
      "Out: eps_behaviour, eps_reference, reward_grad_y, reward_grad_x, reverse_score_reference, reverse_score_policy [N,C,h,w]; prints "
      "rewards.\nSettings: sampling.num_steps, sampling.eta, sampling.guidance_scale, sampling.scheduler as key=value.\nExamples:\n"
      "  nabla probe terms --model assets/pocket --lora lora.safetensors --reward lantern --prompts prompts.txt --in points.safetensors "
      "--out terms.safetensors sampling.num_steps=20\n"
      "  nabla probe terms --model assets/pocket --reward mean-red --gradient reference_fl --dtype float64 --in points.safetensors --out "
      "terms.safetensors sampling.guidance_scale=1");
  verbs.add_input();
  verbs.add_output();
  verbs.add_model()->required();
  verbs.add_lora();
  verbs.add_reward();
  verbs.add_gradient();
  verbs.add_config();
  verbs.add_verb(
      "loss", "An objective on transitions, and its gradients", probe_loss,
      "In: all of terms' inputs and outputs, prompt_embeds [N,L,D], negative_prompt_embeds [1,L,D].\n"
      "Out: grad.unet.<module>.lora_A.weight, grad.unet.<module>.lora_B.weight, grad.flow.<name>, residual_forward, residual_reverse "
      "[N,C,h,w]; prints loss, loss_forward, loss_reverse, loss_terminal, unet_reg.\nSettings: experiment.method, model.*, sampling.* and "
      "compat.* as key=value.\nExamples:\n"
      "  nabla probe loss --model assets/pocket --lora lora.safetensors --flow flow --in terms.safetensors --out gradients.safetensors "
      "model.reward_scale=100 model.unet_reg_scale=10\n"
      "  nabla probe loss --model assets/pocket --lora lora.safetensors --dtype float64 --in terms.safetensors --out gradients.safetensors "
      "model.no_flow=true sampling.num_steps=20");
  verbs.add_input();
  verbs.add_output();
  verbs.add_model()->required();
  verbs.add_lora();
  verbs.add_flow();
  verbs.add_gradient();
  verbs.add_config();
}

void add_text_verbs(ProbeVerbs& verbs) {
  verbs.add_verb("text-encoder", "Embeddings of token ids", probe_text_encoder,
                 "In: input_ids [N,L] int64.\nOut: last_hidden_state [N,L,D], pooled [N,D].\nExamples:\n"
                 "  nabla probe text-encoder --model assets/pocket --in ids.safetensors --out embeddings.safetensors\n"
                 "  nabla probe text-encoder --model assets/pocket --dtype float64 --in ids.safetensors --out embeddings.safetensors");
  verbs.add_input();
  verbs.add_output();
  verbs.add_model()->required();
  verbs.add_verb("tokenize", "Token ids of texts, framed and padded; prints one JSON object a text", probe_tokenize,
                 "Examples:\n  nabla probe tokenize --tokenizer clip --model assets/pocket --text \"a large red star\"\n"
                 "  nabla probe tokenize --tokenizer bert --vocabulary bert/vocab.txt --file assets/pocket/prompts/eval.txt");
  verbs.add_model("Model whose tokenizer is taken: folder in diffusers' layout, single file or name in the hub cache");
  verbs.add_texts();
}

void add_picture_verbs(ProbeVerbs& verbs) {
  verbs.add_verb("vae-encode", "Latent moments of pictures", probe_vae_encode,
                 "In: image [N,3,H,W] in [-1,1].\nOut: mean, logvar [N,C,h,w], before the scaling factor.\nExamples:\n"
                 "  nabla probe vae-encode --model assets/pocket --in pictures.safetensors --out moments.safetensors\n"
                 "  nabla probe vae-encode --model assets/pocket --dtype float64 --in pictures.safetensors --out moments.safetensors");
  verbs.add_input();
  verbs.add_output();
  verbs.add_model()->required();
  verbs.add_verb(
      "vae-decode", "Pictures of latents", probe_vae_decode,
      "In: latents [N,C,h,w] as the sampler holds them (scaled); optionally cotangent [N,3,H,W].\n"
      "Out: image [N,3,H,W] = decode(latents / scaling_factor), not clamped; with a cotangent its vector-Jacobian product grad_latents.\n"
      "Examples:\n  nabla probe vae-decode --model assets/pocket --in latents.safetensors --out pictures.safetensors\n"
      "  nabla probe vae-decode --model assets/pocket --dtype float64 --in latents.safetensors --out pictures.safetensors");
  verbs.add_input();
  verbs.add_output();
  verbs.add_model()->required();
  verbs.add_verb(
      "reward", "Score of pictures and its gradient", probe_reward,
      "In: image [N,3,H,W] in [0,1].\nOut: score [N], grad_image [N,3,H,W] = d sum(score) / d image.\nExamples:\n"
      "  nabla probe reward --reward mean-red --in pictures.safetensors --out score.safetensors\n"
      "  nabla probe reward --reward aesthetic_score --reward-model assets/pocket/reward --prompts prompts.txt --in pictures.safetensors "
      "--out score.safetensors");
  verbs.add_input();
  verbs.add_output();
  verbs.add_reward();
}

void add_kernel_verbs(ProbeVerbs& verbs) {
  verbs.add_verb(
      "scheduler", "Step table of a sampler, in double", probe_scheduler,
      "Prints timesteps, next_timesteps, alpha_bar, alpha_bar_next, std, forward_weight (null where std is 0) and the effective config.\n"
      "Examples:\n  nabla probe scheduler --model assets/pocket --sampler ddim --steps 50 --eta 1\n"
      "  nabla probe scheduler --model assets/pocket --sampler sde-dpm-solver++ --steps 20");
  verbs.add_model()->required();
  verbs.add_table();
  verbs.add_verb(
      "step", "One transition of a sampler, each row at its own timestep", probe_step,
      "In: sample, prediction [N,C,h,w], timestep [N] int64, and next [N,C,h,w] or noise [N,C,h,w].\n"
      "Out: mean, next [N,C,h,w], std [N]; unless a std is 0 also log_prob [N], the mean log-density of next's elements, and log_prob_sum "
      "[N].\n"
      "Examples:\n  nabla probe step --model assets/pocket --sampler ddim --steps 50 --eta 1 --in in.safetensors --out out.safetensors\n"
      "  nabla probe step --model assets/pocket --sampler sde-dpm-solver++ --steps 20 --dtype float64 --in in.safetensors --out "
      "out.safetensors");
  verbs.add_input();
  verbs.add_output();
  verbs.add_model()->required();
  verbs.add_table();
}

}  // namespace

void add_probe_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("probe", "Run one part of the system on given tensors and write what it computed");
  command->require_subcommand(1);
  command->footer(
      "Tensors travel in safetensors files, facts as one JSON object on standard output. Tensors of a verb: nabla probe VERB --help.\n"
      "Examples:\n  nabla probe unet --model assets/pocket --in in.safetensors --out out.safetensors\n"
      "  nabla probe scheduler --model assets/pocket --sampler ddim --steps 50 --eta 1");
  ProbeVerbs verbs(*command, invocation);
  add_noise_verbs(verbs);
  add_objective_verbs(verbs);
  add_text_verbs(verbs);
  add_picture_verbs(verbs);
  add_kernel_verbs(verbs);
}

}  // namespace nabla
