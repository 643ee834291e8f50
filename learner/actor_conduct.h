#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace nabla {

// Whose failures may cost the run slots. As long as another actor is here that delivers, one that delivered nothing yet, or whose last two tickets failed, or
// whom two discards of late are due to, spends no attempts of a ticket and has no slot discarded: its ticket goes to the others. One that gave three tickets
// back in a row gets none for a while. Where nobody delivers, everybody's failures count, so that a run that cannot go on ends. One thread at a time.
class ActorConduct {
 public:
  void arrived(const std::string& actor) { actors_[actor].here = true; }
  void left(const std::string& actor);
  // A record of it was accepted.
  void delivered(const std::string& actor);
  // It gave a ticket back, or what it answered was refused; the time in seconds.
  void failed(const std::string& actor, double now);
  // A ticket was lost with it: it is gone, or was not heard of.
  void lost(const std::string& actor) { ++actors_[actor].lost; }

  // `discards`: slots that were discarded through it of late.
  bool failures_count(const std::string& actor, std::int64_t discards) const;
  // How long it gets no ticket, in seconds; 0: it may have one.
  double rest_of(const std::string& actor, double now) const;

 private:
  struct Record {
    bool here = false, delivers = false;  // what came last of it was accepted
    std::int64_t failed = 0, lost = 0;    // tickets in a row
    double rests_until = 0, next_rest_s = 10;
  };
  bool others_deliver(const std::string& actor) const;

  std::map<std::string, Record> actors_;  // bounded
};

}  // namespace nabla
