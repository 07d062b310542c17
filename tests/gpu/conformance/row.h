// The rows of ../conformance.md, as a program can ask them of a driver.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gpu/driver_abi.h"

namespace strata::inline v0_1::conformance {

using namespace strata::cuda;  // NOLINT: rows are made of the driver's calls

// How the document knows what comes back.
enum class Evidence : std::uint8_t { documented, observed, source, measured, unverified };

// Where a row can run. `special`: some GPU or machine that not everybody has.
enum class Where : std::uint8_t { fake_and_gpu, gpu, fake_and_special, special, never };

// What a row's process has when it begins.
enum class Begin : std::uint8_t {
  ready,  // a current context; shared with other rows
  alone,  // the same, in a process of its own, since it ends what others need
  bare,   // no call was made
};

struct Answer {
  std::string text;
  bool was_asked = true;
};
Answer not_asked(std::string why);
Answer said(std::string text);
// The numbers of the results, each once, with blanks between.
Answer codes(const std::vector<CuResult>& results);

class Machine;
class Channel;
struct Place;

struct Row {
  int number;
  std::string what;
  std::vector<std::string> expected;  // any of them
  Evidence evidence;
  Where where;
  Begin begin = Begin::ready;
  // One of these: with a driver that is ready, or with what it takes to load one.
  Answer (*ask)(Machine& machine) = nullptr;
  Answer (*ask_bare)(const Place& place) = nullptr;
  // With a second process, which runs `second`.
  Answer (*ask_with)(const Place& place, Channel& second) = nullptr;
  void (*second)(const Place& place, Channel& first) = nullptr;
  std::string why_not = {};  // nobody asks it
};

// In the order of the document.
std::vector<Row> all_rows();

std::vector<Row> rows_of_start();
std::vector<Row> rows_of_allocation();
std::vector<Row> rows_of_addresses();
std::vector<Row> rows_of_access();
std::vector<Row> rows_of_descriptors();
std::vector<Row> rows_of_processes();
std::vector<Row> rows_of_pointers();
std::vector<Row> rows_of_ipc();
std::vector<Row> rows_of_host_memory();
std::vector<Row> rows_of_streams();
std::vector<Row> rows_that_nobody_asks();

}  // namespace strata::inline v0_1::conformance
