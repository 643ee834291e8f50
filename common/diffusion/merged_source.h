#pragma once

#include "common/diffusion/model_source.h"

namespace nabla {

// A model whose UNet has some of its weights replaced, such as those that a LoRA was merged into; everything else is the other source's.
class MergedSource : public ModelSource {
 public:
  // `weights` by diffusers' names; each takes the dtype of the one it replaces.
  MergedSource(std::shared_ptr<const ModelSource> base, TensorMap weights) : base_(std::move(base)), weights_(std::move(weights)) {}

  nlohmann::ordered_json config(Component component) const override;
  std::string config_name(Component component) const override { return base_->config_name(component); }
  TensorMap tensors(Component component) const override;
  std::string tensors_name(Component component) const override { return base_->tensors_name(component); }
  nlohmann::ordered_json scheduler() const override;
  std::string scheduler_name() const override { return base_->scheduler_name(); }
  ClipTokenizer tokenizer() const override { return base_->tokenizer(); }
  void write_tokenizer(const std::string& folder) const override { base_->write_tokenizer(folder); }

 private:
  std::shared_ptr<const ModelSource> base_;
  TensorMap weights_;
};

}  // namespace nabla
