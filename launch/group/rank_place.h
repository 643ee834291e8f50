#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace nabla {

// Variables by name.
using Environment = std::map<std::string, std::string>;
Environment process_environment();

// --rank and --rendezvous of the command line.
struct RankOptions {
  std::int64_t rank = -1;  // -1: not given
  std::string rendezvous;  // <host>:<port>
};

// One process's place among the ranks of a learner that others started too.
struct RankPlace {
  int rank = 0, size = 1, local_rank = 0;
  std::string host;
  std::uint16_t port = 0;
  bool store_of_launcher = false;  // torchrun's agent keeps the rendezvous
  std::string session = "0";       // tells the attempts of one launcher apart
  std::string source;              // who said so
};

// From the command line, torchrun's variables, Slurm's (srun) or Open MPI's: the first that says anything. Nothing where none does: then this process is alone,
// or starts the other ranks itself. `ranks` is learner.ranks; a launcher's number must equal it, unless it was left at 1. usage_error, naming the variable or
// option, on what is missing, no number or contradicts itself.
std::optional<RankPlace> find_rank_place(const RankOptions& options, std::int64_t ranks, const Environment& environment);

// The first name of a Slurm host list: "n1" of "n[1-2,5],m3".
std::string first_host(const std::string& list);

}  // namespace nabla
