// What there is, and what of it is orphaned.
#include "c/handles.h"

using namespace strata;
using namespace strata::c;

namespace {

static_assert(sizeof(strata_segment_stat::uri) > kMaxLocatorBytes);
static_assert(sizeof(strata_segment_stat::job_id) > sizeof(IdentityBlock::job_id));

strata_segment_stat stat_of(const SegmentStat& from) {
  strata_segment_stat stat{};
  stat.size = sizeof stat;
  copy_text(stat.uri, from.uri.to_string());
  if (from.problem) {
    stat.problem_code = code_of(from.problem->code());
    copy_text(stat.problem, from.problem->message());
  } else {
    stat.kind = from.identity.kind;
    stat.lifetime = from.identity.lifetime;
    copy_uuid(stat.uuid, from.identity.uuid);
    stat.max_bytes = from.identity.max_bytes;
    stat.created_unix_ns = from.identity.created_unix_ns;
    stat.creator_pid = from.identity.creator_pid;
    copy_text(stat.job_id, padded_text(from.identity.job_id));
  }
  stat.state = static_cast<std::uint32_t>(from.state);
  stat.payload_bytes = from.payload_bytes;
  stat.committed_bytes = from.committed_bytes;
  stat.owner_uid = from.owner_uid;
  stat.mode = from.mode;
  stat.is_attached = from.is_attached ? 1 : 0;
  stat.is_attached_for_writing = from.is_attached_for_writing ? 1 : 0;
  stat.is_creator_alive = from.is_creator_alive ? 1 : 0;
  return stat;
}

void tell_problems(const std::vector<BackendProblem>& problems, strata_problem_visitor tell,
                   void* user) {
  if (tell == nullptr) return;
  for (const BackendProblem& problem : problems)
    tell(problem.where.c_str(), code_of(problem.status.code()), problem.status.message().c_str(),
         user);
}

JobOracle oracle_of(int (*job_state)(const char* job_id, void* user), void* user) {
  if (job_state == nullptr) return {};
  return [job_state, user](std::string_view job_id) {
    const int state = job_state(std::string(job_id).c_str(), user);
    JobState::Kind kind = JobState::Kind::unknown;
    if (state == STRATA_JOB_ALIVE) kind = JobState::Kind::alive;
    if (state == STRATA_JOB_ENDED) kind = JobState::Kind::ended;
    return JobState{kind, "the program says so"};
  };
}

}  // namespace

int strata_catalog_stat(strata_catalog* catalog, const char* uri, strata_segment_stat* stat) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(catalog, "catalog"));
    STRATA_TRY(check_report(stat, "stat"));
    STRATA_ASSIGN(const std::string_view name, text(uri, "uri"));
    STRATA_ASSIGN(const SegmentStat found, catalog->catalog.stat(name));
    fill_report(stat, stat_of(found));
    return {};
  });
}

int strata_catalog_list(strata_catalog* catalog, const strata_list_options* options,
                        strata_segment_visitor visit, strata_problem_visitor problem, void* user) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(catalog, "catalog"));
    if (visit == nullptr) return is_null("visit");
    STRATA_ASSIGN(const strata_list_options from, read_options(options, "options"));
    const SegmentList list = catalog->catalog.list(
        {.scheme = text_or_empty(from.scheme), .container = text_or_empty(from.container)});
    tell_problems(list.problems, problem, user);
    for (const SegmentStat& segment : list.segments) {
      const strata_segment_stat stat = stat_of(segment);
      if (visit(&stat, user) != 0) break;
    }
    return {};
  });
}

int strata_catalog_reclaim(strata_catalog* catalog, const strata_reclaim_options* options,
                           strata_reclaim_visitor visit, strata_problem_visitor problem,
                           void* user) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(catalog, "catalog"));
    STRATA_ASSIGN(const strata_reclaim_options from, read_options(options, "options"));
    ReclaimOptions checked;
    checked.dry_run = from.dry_run != 0;
    checked.job_oracle = oracle_of(from.job_state, user);
    STRATA_ASSIGN(checked.containers, texts(from.pools, from.pool_count, "pools"));
    const ReclaimReport report = catalog->catalog.reclaim(checked);
    tell_problems(report.problems, problem, user);
    for (const ReclaimDecision& decided : report.decisions) {
      if (visit == nullptr) break;
      const std::string uri = decided.uri.to_string();
      const strata_reclaim_decision decision{.size = sizeof decision,
                                             .uri = uri.c_str(),
                                             .evidence = decided.evidence.c_str(),
                                             .bytes = decided.bytes,
                                             .is_orphan = decided.is_orphan ? 1 : 0,
                                             .was_reclaimed = decided.was_reclaimed ? 1 : 0};
      if (visit(&decision, user) != 0) break;
    }
    return {};
  });
}
