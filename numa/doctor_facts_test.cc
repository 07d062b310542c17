#include "numa/doctor_facts.h"

#include <algorithm>

#include "os/fault_os.h"
#include "tests/catch.h"

using namespace strata;

namespace {

const DoctorFact* find(const std::vector<DoctorFact>& facts, const std::string& name) {
  const auto found = std::find_if(facts.begin(), facts.end(), [&](const DoctorFact& each) {
    return each.name.find(name) != std::string::npos;
  });
  return found == facts.end() ? nullptr : &*found;
}

}  // namespace

TEST_CASE("a_fact_in_the_way_has_a_remedy_and_a_fine_one_has_none") {
  RealOs os;
  const auto facts = memory_facts(os);
  REQUIRE(find(facts, "/dev/shm") != nullptr);
  CHECK(find(facts, "memory of this machine") != nullptr);
  for (const DoctorFact& fact : facts) {
    INFO(fact.name);
    CHECK(!fact.value.empty());
    CHECK(fact.is_fine == fact.remedy.empty());
  }
}

TEST_CASE("facts_that_cannot_be_read_are_left_out") {
  FaultOs os;
  (void)memory_facts(os);
  const std::uint64_t calls = os.calls();
  for (std::uint64_t n = 1; n <= calls; ++n) {
    os.reset();
    os.fail_at(n, EACCES);
    CHECK(!memory_facts(os).empty());
  }
  os.reset();
  os.fail_at(1, EACCES, 1'000'000);
  const auto facts = memory_facts(os);
  REQUIRE(find(facts, "/dev/shm") != nullptr);
  CHECK_FALSE(find(facts, "/dev/shm")->is_fine);
}
