#include "launch/group/rank_place.h"

#include "common/error.h"

#include <unistd.h>

#include <charconv>
#include <vector>

namespace nabla {

namespace {

constexpr std::int64_t kMostRanks = 100'000;

std::string value_of(const Environment& environment, const std::string& name) {
  const auto found = environment.find(name);
  return found == environment.end() ? "" : found->second;
}

std::int64_t number(const std::string& name, const std::string& text, std::int64_t least, std::int64_t most) {
  std::int64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size() || value < least || value > most)
    throw usage_error("[launch] {} is '{}'; a number from {} to {} is expected", name, text, least, most);
  return value;
}

// Of a launcher that sets all of these or none.
std::int64_t variable(const Environment& environment, const std::string& name, const std::string& because_of, std::int64_t least,
                      std::int64_t most) {
  const std::string text = value_of(environment, name);
  if (text.empty()) throw usage_error("[launch] {} is set but {} is not; set both, as torchrun and srun do, or neither", because_of, name);
  return number(name, text, least, most);
}

void require_agreement(const RankPlace& place, std::int64_t ranks, const std::string& size_name) {
  if (place.rank >= place.size)
    throw usage_error("[launch] rank {} of {} ranks ({}): ranks count from 0", place.rank, place.size, place.source);
  if (ranks != 1 && ranks != place.size)
    throw usage_error("[launch] learner.ranks is {} but {} is {}; leave learner.ranks out, or start as many", ranks, size_name, place.size);
}

std::optional<RankPlace> from_command_line(const RankOptions& options, std::int64_t ranks, const Environment& environment) {
  if (options.rank < 0 && options.rendezvous.empty()) return std::nullopt;
  if (options.rank < 0 || options.rendezvous.empty())
    throw usage_error("[launch] {} was given without {}; a rank that is started by hand needs both",
                      options.rank < 0 ? "--rendezvous" : "--rank", options.rank < 0 ? "--rank" : "--rendezvous");
  const std::string other = value_of(environment, "RANK");
  if (!other.empty() && other != std::to_string(options.rank))
    throw usage_error("[launch] --rank is {} but RANK is {}; leave one of them out", options.rank, other);
  const std::size_t colon = options.rendezvous.rfind(':');
  if (colon == std::string::npos || colon == 0)
    throw usage_error("[launch] --rendezvous is '{}'; <host>:<port> is expected", options.rendezvous);
  if (ranks < 2) throw usage_error("[launch] --rank is {} but learner.ranks is {}; say how many ranks there are", options.rank, ranks);
  RankPlace place;
  place.source = "--rank and --rendezvous";
  place.rank = place.local_rank = static_cast<int>(options.rank);
  place.size = static_cast<int>(ranks);
  place.host = options.rendezvous.substr(0, colon);
  place.port = static_cast<std::uint16_t>(number("the port of --rendezvous", options.rendezvous.substr(colon + 1), 1, 65535));
  require_agreement(place, ranks, "learner.ranks");
  return place;
}

std::optional<RankPlace> from_torchrun(const Environment& environment, std::int64_t ranks) {
  const bool has_rank = environment.contains("RANK"), has_size = environment.contains("WORLD_SIZE");
  if (!has_rank && !has_size) return std::nullopt;
  const std::string set = has_rank ? "RANK" : "WORLD_SIZE";
  RankPlace place;
  place.source = "RANK and WORLD_SIZE (torchrun)";
  place.rank = static_cast<int>(variable(environment, "RANK", set, 0, kMostRanks));
  place.size = static_cast<int>(variable(environment, "WORLD_SIZE", set, 1, kMostRanks));
  place.local_rank =
      environment.contains("LOCAL_RANK") ? static_cast<int>(variable(environment, "LOCAL_RANK", set, 0, kMostRanks)) : place.rank;
  require_agreement(place, ranks, "WORLD_SIZE");
  if (place.size == 1) return place;
  place.host = value_of(environment, "MASTER_ADDR");
  if (place.host.empty()) throw usage_error("[launch] {} is set but MASTER_ADDR is not; it names the host of rank 0", set);
  place.port = static_cast<std::uint16_t>(variable(environment, "MASTER_PORT", set, 1, 65535));
  place.store_of_launcher = value_of(environment, "TORCHELASTIC_USE_AGENT_STORE") == "True";
  place.session = value_of(environment, "TORCHELASTIC_RUN_ID") + "/" + value_of(environment, "TORCHELASTIC_RESTART_COUNT");
  return place;
}

// A port that the steps of a machine's jobs do not share.
std::uint16_t port_of_step(const Environment& environment) {
  constexpr std::int64_t kFirstPort = 20000, kPorts = 10000, kStepsApart = 7;
  const auto id = [&](const char* name) {
    const std::string text = value_of(environment, name);
    return text.empty() ? 0 : number(name, text, 0, std::int64_t{1} << 40);
  };
  return static_cast<std::uint16_t>(kFirstPort + (id("SLURM_JOB_ID") * kStepsApart + id("SLURM_STEP_ID")) % kPorts);
}

// Only srun sets the step's node list; in a batch script, which has the other variables, the process is alone.
std::optional<RankPlace> from_slurm(const Environment& environment, std::int64_t ranks) {
  if (!environment.contains("SLURM_STEP_NODELIST") || !environment.contains("SLURM_PROCID")) return std::nullopt;
  const std::string size_name = environment.contains("SLURM_STEP_NUM_TASKS") ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS";
  RankPlace place;
  place.source = "SLURM_PROCID and " + size_name + " (srun)";
  place.rank = static_cast<int>(variable(environment, "SLURM_PROCID", "SLURM_STEP_NODELIST", 0, kMostRanks));
  place.size = static_cast<int>(variable(environment, size_name, "SLURM_PROCID", 1, kMostRanks));
  if (place.size == 1 && ranks != 1) return std::nullopt;  // one task that starts its ranks itself
  place.local_rank =
      environment.contains("SLURM_LOCALID") ? static_cast<int>(variable(environment, "SLURM_LOCALID", "SLURM_PROCID", 0, kMostRanks)) : 0;
  require_agreement(place, ranks, size_name);
  const std::string address = value_of(environment, "MASTER_ADDR"), port = value_of(environment, "MASTER_PORT");
  place.host = address.empty() ? first_host(value_of(environment, "SLURM_STEP_NODELIST")) : address;
  place.port = port.empty() ? port_of_step(environment) : static_cast<std::uint16_t>(number("MASTER_PORT", port, 1, 65535));
  place.session = value_of(environment, "SLURM_JOB_ID") + "." + value_of(environment, "SLURM_STEP_ID");
  return place;
}

std::optional<RankPlace> from_open_mpi(const Environment& environment, std::int64_t ranks) {
  if (!environment.contains("OMPI_COMM_WORLD_RANK")) return std::nullopt;
  RankPlace place;
  place.source = "OMPI_COMM_WORLD_RANK and OMPI_COMM_WORLD_SIZE (Open MPI)";
  place.rank = static_cast<int>(variable(environment, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_RANK", 0, kMostRanks));
  place.size = static_cast<int>(variable(environment, "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", 1, kMostRanks));
  if (place.size == 1 && ranks != 1) return std::nullopt;
  place.local_rank = static_cast<int>(variable(environment, "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_RANK", 0, kMostRanks));
  require_agreement(place, ranks, "OMPI_COMM_WORLD_SIZE");
  if (place.size == 1) return place;
  place.host = value_of(environment, "MASTER_ADDR");
  if (place.host.empty())
    throw usage_error(
        "[launch] OMPI_COMM_WORLD_RANK is set but MASTER_ADDR is not: mpirun -x MASTER_ADDR=<host of rank 0> -x MASTER_PORT=<port>");
  place.port = static_cast<std::uint16_t>(variable(environment, "MASTER_PORT", "OMPI_COMM_WORLD_RANK", 1, 65535));
  return place;
}

}  // namespace

Environment process_environment() {
  Environment environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::size_t equals = text.find('=');
    if (equals != std::string::npos) environment[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return environment;
}

std::optional<RankPlace> find_rank_place(const RankOptions& options, std::int64_t ranks, const Environment& environment) {
  if (auto place = from_command_line(options, ranks, environment)) return place;
  if (auto place = from_torchrun(environment, ranks)) return place;
  if (auto place = from_slurm(environment, ranks)) return place;
  return from_open_mpi(environment, ranks);
}

std::string first_host(const std::string& list) {
  const std::size_t bracket = list.find('['), comma = list.find(',');
  if (bracket == std::string::npos || comma < bracket) return list.substr(0, comma);
  const std::size_t number_end = list.find_first_of(",-]", bracket);
  const std::size_t close = list.find(']', bracket), after = close == std::string::npos ? std::string::npos : list.find(',', close);
  if (close == std::string::npos) throw usage_error("[launch] SLURM_STEP_NODELIST is '{}'; a ']' is missing", list);
  const std::string suffix = list.substr(close + 1, after == std::string::npos ? std::string::npos : after - close - 1);
  return list.substr(0, bracket) + list.substr(bracket + 1, number_end - bracket - 1) + suffix;
}

}  // namespace nabla
