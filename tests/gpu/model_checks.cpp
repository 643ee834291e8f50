#include "actors/sample_ticket.h"
#include "common/device/arithmetic.h"
#include "learner/publisher.h"
#include "learner/transition_choice.h"
#include "learner/update_step.h"
#include "tests/gpu/checks.h"

#include <cmath>
#include <cstring>

namespace nabla {
namespace {

constexpr double kTolerance = 1e-3;

RunConfig pocket_config(const std::string& assets) {
  RunConfig config;
  config.seed = 1;
  config.pretrained.model = assets;
  config.experiment.reward_model = assets + "/reward";
  config.sampling.num_steps = 10;
  config.sampling.guidance_scale = 3.0;
  config.model.timestep_fraction = 0.3;
  config.model.flow_channel_width = {32, 32, 64, 64};
  config.fleet.ticket_size = 4;
  config.training.batch_size = 4;
  config.training.gradient_accumulation_steps = 1;
  return config;
}

RunConfig on_gpu(RunConfig config) {
  config.actors.device = config.learner.device = "cuda";
  return config;
}

Ticket ticket_of(const RunConfig& config) {
  Ticket ticket;
  ticket.id = 1;
  for (std::int64_t slot = 0; slot < config.fleet.ticket_size; ++slot)
    ticket.slots.push_back({slot, 0, "a red star", 5, choose_transitions(transition_choice_of(config), 5, slot)});
  return ticket;
}

// With values in both matrices of every adapter.
void load_some_lora(Policy& policy) {
  TensorMap lora;
  std::uint64_t index = 0;
  for (const auto& [name, tensor] : policy.lora().tensors())
    lora[name] = 0.05 * normal_tensor(tensor.sizes().vec(), Philox(9, RandomPurpose::kRender, index++));
  policy.load(lora);
}

std::vector<SharedRecord> sample(const RunConfig& config) {
  Workbench bench = make_workbench(config);
  load_some_lora(*bench.policy);
  Progress progress([](const Heartbeat&) {}, std::stop_token());
  std::vector<SharedRecord> records;
  for (const auto& encoded : sample_ticket(bench, config, ticket_of(config), {"run", "actor", 0, bench.policy->digest()}, progress)) {
    DecodeResult result = decode_record(encoded, {});
    records.push_back(std::make_shared<TrajectoryRecord>(std::move(result.record)));
  }
  return records;
}

Tensor tensor_of(const TrajectoryRecord& record, const TensorEntry& entry) {
  const auto bytes = record.bytes(entry);
  return at::from_blob(const_cast<std::byte*>(bytes.data()), entry.shape, at::TensorOptions().dtype(at::kFloat));
}

// The largest error of each tensor over the records.
nlohmann::json compare_records(const std::vector<SharedRecord>& actual, const std::vector<SharedRecord>& expected, double& worst) {
  nlohmann::json errors;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    for (const auto& entry : expected[i]->header.tensors) {
      const double error = relative_error(tensor_of(*actual[i], *actual[i]->find(entry.name)), tensor_of(*expected[i], entry));
      errors[entry.name] = std::max(errors.value(entry.name, 0.0), error);
      worst = std::isfinite(error) ? std::max(worst, error) : 1e9;
    }
  }
  return errors;
}

nlohmann::json compare_sampling(const std::string& name, const RunConfig& actual, const std::vector<SharedRecord>& expected,
                                double tolerance) {
  double worst = 0.0;
  const auto errors = compare_records(sample(actual), expected, worst);
  return {{"check", name}, {"errors", errors}, {"tolerance", tolerance}, {"passed", worst < tolerance}};
}

struct Update {
  Tensor lora_gradient, flow_gradient;
  double loss = 0.0;
};

Tensor flat_gradient(const std::vector<Tensor>& parameters) {
  std::vector<Tensor> parts;
  for (const auto& parameter : parameters) parts.push_back(parameter.grad().flatten().to(at::kDouble).cpu());
  return at::cat(parts);
}

Update train(RunConfig config, const std::vector<SharedRecord>& records) {
  config.training.max_grad_norm = 1e30;
  LearnerModel model = make_learner_model(config, "a blue ring");
  load_some_lora(*model.policy);
  UpdateStep step(config, model);
  const auto metrics = step.train({0, records}, {}).value();
  return {flat_gradient(model.policy->lora().parameters()), flat_gradient(model.flow->parameters()), metrics.at("loss")};
}

nlohmann::json compare_updates(const std::string& name, const Update& actual, const Update& expected, double tolerance) {
  const double lora = relative_error(actual.lora_gradient, expected.lora_gradient);
  const double flow = relative_error(actual.flow_gradient, expected.flow_gradient);
  const double loss = std::abs(actual.loss - expected.loss) / std::abs(expected.loss);
  return {{"check", name}, {"lora_gradient", lora},  {"flow_gradient", flow},
          {"loss", loss},  {"tolerance", tolerance}, {"passed", std::max({lora, flow, loss}) < tolerance}};
}

}  // namespace

void check_models(Checks& checks, const std::string& assets) {
  // Without TF32 both sides compute in float32.
  set_repeatable(true);
  const RunConfig cpu = pocket_config(assets), gpu = on_gpu(cpu);
  const auto expected = sample(cpu);
  checks.push_back(compare_sampling("pocket model, a ticket on the GPU", gpu, expected, kTolerance));
  RunConfig variant = gpu;
  variant.actors.cuda_graphs = true;
  checks.push_back(compare_sampling("pocket model, sampled by a CUDA graph", variant, expected, kTolerance));
  variant = gpu;
  variant.actors.activation_checkpointing = true;
  variant.actors.decode_rows = 3;
  checks.push_back(compare_sampling("pocket model, activations recomputed, pictures in slices", variant, expected, kTolerance));
  variant = gpu;
  variant.training.mixed_precision = "bf16";
  checks.push_back(compare_sampling("pocket model in bfloat16", variant, expected, 0.5));
  const Update update = train(cpu, expected);
  checks.push_back(compare_updates("one update on the GPU", train(gpu, expected), update, kTolerance));
  variant = gpu;
  variant.learner.activation_checkpointing = true;
  checks.push_back(compare_updates("one update on the GPU, activations recomputed", train(variant, expected), update, kTolerance));
  variant = gpu;
  variant.training.mixed_precision = "bf16";
  variant.learner.reference = "paired";
  RunConfig paired = cpu;
  paired.learner.reference = "paired";
  checks.push_back(compare_updates("one update in bfloat16", train(variant, expected), train(paired, expected), 0.3));
}

}  // namespace nabla
