#include "launch/pretrain/trainer.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"

#include <torch/types.h>

#include <cmath>
#include <filesystem>
#include <numbers>

namespace nabla {

namespace {

constexpr double kAdamEpsilon = 1e-8;
constexpr double kLossSmoothing = 0.02;
constexpr std::int64_t kLogEvery = 50;

double learning_rate_at(const TrainerOptions& options, std::int64_t step) {
  const double warm = std::min(1.0, static_cast<double>(step + 1) / static_cast<double>(options.warmup));
  const double done = static_cast<double>(step) / static_cast<double>(options.steps);
  return options.learning_rate * warm * 0.5 * (1.0 + std::cos(std::numbers::pi * done));
}

}  // namespace

Trainer::Trainer(std::shared_ptr<torch::nn::Module> module, TrainerOptions options) : module_(std::move(module)), options_(std::move(options)) {
  for (const auto& item : module_->named_parameters()) {
    names_.push_back(item.key());
    parameters_.push_back(item.value());
    mean_.push_back(at::zeros_like(item.value()));
    square_.push_back(at::zeros_like(item.value()));
    if (options_.ema_decay > 0.0) average_.push_back(item.value().detach().clone());
  }
  for (const auto& item : module_->named_buffers()) {
    buffer_names_.push_back(item.key());
    buffers_.push_back(item.value());
  }
  if (std::filesystem::exists(options_.checkpoint)) load();
}

void Trainer::run(const std::function<Tensor(std::int64_t)>& loss, const std::function<void(std::int64_t)>& after_checkpoint) {
  const double begun = monotonic_seconds(), seconds_before = seconds_;
  while (!finished()) {
    for (auto& parameter : parameters_) parameter.mutable_grad() = Tensor();
    const Tensor value = loss(step_);
    value.backward();
    apply_gradients();
    note_loss(value.item<double>());
    ++step_;
    seconds_ = seconds_before + monotonic_seconds() - begun;
    if (step_ % kLogEvery == 0) log_progress(seconds_ - seconds_before, step_ - first_step_);
    if (step_ % options_.checkpoint_every != 0 && !finished()) continue;
    save();
    if (after_checkpoint) after_checkpoint(step_);
  }
}

void Trainer::note_loss(double loss) {
  if (!std::isfinite(loss)) throw Error(ExitCode::kNonFinite, fmt::format("[pretrain] {}: the loss of step {} is {}", options_.name, step_, loss));
  const double share = std::max(kLossSmoothing, 1.0 / static_cast<double>(step_ + 1));
  smoothed_loss_ += share * (loss - smoothed_loss_);
}

void Trainer::log_progress(double seconds, std::int64_t steps) const {
  const double pace = seconds / static_cast<double>(steps);
  log_info("{} step {}/{} loss {:.5f} {:.3f} s a step, {:.0f} s left", options_.name, step_, options_.steps, smoothed_loss_, pace,
           pace * static_cast<double>(options_.steps - step_));
}

void Trainer::apply_gradients() {
  const at::NoGradGuard no_grad;
  double norm_square = 0.0;
  for (const auto& parameter : parameters_) {
    if (parameter.grad().defined()) norm_square += parameter.grad().square().sum().item<double>();
  }
  const double clip = std::min(1.0, options_.max_grad_norm / (std::sqrt(norm_square) + 1e-6));
  const double rate = learning_rate_at(options_, step_);
  const auto t = static_cast<double>(step_ + 1);
  const double correction1 = 1.0 - std::pow(options_.beta1, t), correction2 = 1.0 - std::pow(options_.beta2, t);
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    Tensor& parameter = parameters_[i];
    if (!parameter.grad().defined()) continue;
    const Tensor gradient = parameter.grad().mul_(clip);
    mean_[i].lerp_(gradient, 1.0 - options_.beta1);
    square_[i].mul_(options_.beta2).addcmul_(gradient, gradient, 1.0 - options_.beta2);
    parameter.mul_(1.0 - rate * options_.weight_decay);
    parameter.addcdiv_(mean_[i], (square_[i] / correction2).sqrt_().add_(kAdamEpsilon), -rate / correction1);
    if (!average_.empty()) average_[i].lerp_(parameter, 1.0 - std::min(options_.ema_decay, t / (t + 10.0)));
  }
}

void Trainer::use_average() {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < average_.size(); ++i) parameters_[i].copy_(average_[i]);
}

void Trainer::save() const {
  TensorMap state;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    state["weight/" + names_[i]] = parameters_[i];
    state["mean/" + names_[i]] = mean_[i];
    state["square/" + names_[i]] = square_[i];
    if (!average_.empty()) state["average/" + names_[i]] = average_[i];
  }
  for (std::size_t i = 0; i < buffers_.size(); ++i) state["buffer/" + buffer_names_[i]] = buffers_[i];
  save_tensors(options_.checkpoint, state, {{"step", std::to_string(step_)}, {"steps", std::to_string(options_.steps)},
                                            {"seed", std::to_string(options_.seed)},
                                            {"loss", fmt::format("{:.17g}", smoothed_loss_)}, {"seconds", fmt::format("{:.3f}", seconds_)}});
}

void Trainer::load() {
  const at::NoGradGuard no_grad;
  const TensorMap state = load_tensors(options_.checkpoint);
  const auto metadata = load_metadata(options_.checkpoint);
  if (metadata.at("steps") != std::to_string(options_.steps)) {
    throw usage_error("[pretrain] {} was begun for {} steps, not {}; the schedule depends on it: keep the number or remove the file", options_.checkpoint,
                      metadata.at("steps"), options_.steps);
  }
  if (const auto seed = metadata.find("seed"); seed != metadata.end() && seed->second != std::to_string(options_.seed)) {
    throw usage_error("[pretrain] {} was begun with seed {}, not {}; choose another --work folder, or keep the seed", options_.checkpoint, seed->second,
                      options_.seed);
  }
  for (std::size_t i = 0; i < names_.size(); ++i) {
    parameters_[i].copy_(state.at("weight/" + names_[i]));
    mean_[i].copy_(state.at("mean/" + names_[i]));
    square_[i].copy_(state.at("square/" + names_[i]));
    if (!average_.empty()) average_[i].copy_(state.at("average/" + names_[i]));
  }
  for (std::size_t i = 0; i < buffers_.size(); ++i) buffers_[i].copy_(state.at("buffer/" + buffer_names_[i]));
  step_ = first_step_ = std::stoll(metadata.at("step"));
  smoothed_loss_ = std::stod(metadata.at("loss"));
  seconds_ = std::stod(metadata.at("seconds"));
  log_info("{} resumes at step {}", options_.name, step_);
}

}  // namespace nabla
