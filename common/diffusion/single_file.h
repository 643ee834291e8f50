#pragma once

#include "common/diffusion/model_source.h"

#include <nlohmann/json.hpp>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace nabla {

// A checkpoint of Stable Diffusion v1.x in one file of LDM's names (.safetensors, .ckpt). It brings no configuration along: widths and depths are those of its
// tensors; 8 heads, 32 groups, 2 layers a block, the scheduler is Stable Diffusion v1.5's; the
// tokenizer is the folder tokenizer/ beside the file.
class SingleFile : public ModelSource {
 public:
  // Refuses other families by name. `like` gives configurations, scheduler and tokenizer instead, where it is set.
  explicit SingleFile(const std::string& path, std::shared_ptr<const ModelSource> like = nullptr);

  nlohmann::ordered_json config(Component component) const override;
  std::string config_name(Component component) const override;
  TensorMap tensors(Component component) const override;
  std::string tensors_name(Component component) const override;
  nlohmann::ordered_json scheduler() const override;
  std::string scheduler_name() const override;
  ClipTokenizer tokenizer() const override;
  void write_tokenizer(const std::string& folder) const override;

  // Tensors that belong to no component: buffers of the training schedule, averaged copies of the weights.
  const std::vector<std::string>& left_out() const { return left_out_; }

 private:
  std::string tokenizer_folder() const;

  std::string path_;
  std::shared_ptr<const ModelSource> like_;
  std::map<Component, nlohmann::ordered_json> configs_;
  std::vector<std::string> left_out_;
};

// What a file of tensors is instead of a Stable Diffusion v1.x checkpoint, in words ("a Stable Diffusion XL checkpoint"); empty for one.
std::string other_family(const TensorMap& tensors);

// The configuration of one component, as far as its tensors tell.
nlohmann::ordered_json infer_config(const TensorMap& tensors, Component component);

// The tensors of a whole model under LDM's names. data_error unless each component is complete.
TensorMap single_file_tensors(const ModelSource& source);

}  // namespace nabla
