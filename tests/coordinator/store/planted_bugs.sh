#!/usr/bin/env bash
# Plants bugs in the store, one at a time, and shows that a test finds each:
#   tests/coordinator/store/planted_bugs.sh DIRECTORY [NUMBER...]
# A bug names the test program and the filter that find it.
set -euo pipefail
. "$(dirname "$0")/../../support/planted_bugs.sh"
targets=(artifact_store_test store_collector_test store_damage_test store_fault_test store_format_test store_full_disk_test
  store_operator fault_shim trust_test)
folder=coordinator/
run_test() { timeout 300 "$tree/build/bin/$1" --gtest_filter="$2"; }
found() { echo "by $1 $(grep -m1 -oE 'FAILED  \] [A-Za-z]+[./A-Za-z0-9]*' "$work/test.log" | cut -d' ' -f4)"; }
prepare

bug "commits are not synced" store/database.cc 's/options\.sync = .*/options.sync = false;/' store_fault_test '*UnsyncedData*'
bug "HEAD is not synced" store/head.cc 's/^  file_\.sync\(\);$//' store_fault_test '*UnsyncedData*'
bug "chunks are not flushed before the commit that names them" store/artifact_store.cc 's/writable\.chunks\(\)\.flush_for\(referred\);//' store_fault_test '*Killed*'
bug "a chunk's digest is not checked on reading" store/chunks.cc '/Bytes Chunks::get/,/^}/ s/actual != digest/false/' store_damage_test '*DamagedBlobs*'
bug "a record's seal is not checked" store/keys.cc 's/if \(stored != seal_digest\(family, key, payload\)\)/if (false)/' store_damage_test '*Record*'
bug "the journal's chain is not checked" store/journal.cc 's/if \(take_digest\(rest\) != tail\.hash\)/if (take_digest(rest) != tail.hash \&\& false)/' store_damage_test '*Journal*'
bug "a catalog behind HEAD is opened" store/databases.cc 's/if \(same \|\| one_ahead\) return;/return;/' store_damage_test '*CutLog*'
bug "a cut MANIFEST is opened" store/databases.cc 's/^  check_manifest\(.*$//' store_damage_test '*CutManifest*'
bug "a commit may name chunks that are not there" store/artifact_store.cc 's/if \(!open\.chunks\(\)\.size_bytes\(digest\)\)$/if (false)/' artifact_store_test '*MissingChunk*'
bug "a store goes on writing after a failed write" store/store_state.h 's/if \(error\.code\(\) == ErrorCode::failed\) set_reason\(error\.what\(\)\);//' store_full_disk_test '*'
bug "the collector removes chunks without saying first" store/collector.cc 's/if \(!options\.dry_run \&\& !commit\.empty\(\)\)/if (false)/' store_collector_test '*'
bug "the collector takes chunks of open publishes" store/open_publishes.cc 's/return touched_\.contains\(digest\) \|\| settled_\.contains\(digest\);/return settled_.contains(digest);/' store_collector_test '*'
bug "the collector forgets what was committed meanwhile" store/open_publishes.cc 's/if \(collecting_\) settled_\.insert\(digest\);//' store_collector_test '*'
bug "the collector overlooks what was named meanwhile" store/collector.cc 's/^      revive\(.*$//' store_collector_test '*'
bug "the collector takes what a name just meant" store/collector.cc 's/options\.now_ms < ref\.time_ms \+ options\.name_grace_ms/false/' store_collector_test '*'
bug "the collector forgets what belongs together" store/collector.cc 's/for \(const Digest\& linked.*$//' store_collector_test '*'
bug "a name may point at what was collected" store/catalog.cc 's/known \&\& !put_now \&\& collected_ms\(change\.object\)/false/' store_collector_test '*'
bug "a job that is queued during a collection is given up" store/collector.cc 's/if \(opinion\.fate != JobOpinion::Fate::keep\) return false;/return false;/' store_collector_test '*Queued*'
bug "the block that says where a blob is is read unchecked" store/database.cc 's/options\.verify_checksums = .*/options.verify_checksums = false;/' store_damage_test '*Anywhere*'
bug "an organisation's quota counts for nobody" store/enforcement.cc 's/if \(after <= quota->second\) continue;/continue;/' artifact_store_test '*Organisation*'
bug "of two who change a name both win" store/catalog.cc 's/^  check_expectations\(commit\);//' store_collector_test '*OfTwo*'
bug "any signature is good" trust/statement.cc 's/const bool good = /const bool good = true || /' trust_test '*'
bug "a signature counts for another artifact" trust/statement.cc 's/ \|\| !is_about\(envelope\.payload, digest\)//' trust_test '*'
bug "a migrated store still says the old format" store/databases.cc 's/state_ = catalog_->upgrade\(state_\);//' store_format_test '*'
bug "a backup has no HEAD" store/databases.cc 's/^  HeadFile::create\(to .*$/  if (false) HeadFile::create(to \/ "HEAD", record_of(state_, ManifestWatch(to \/ "chunks").mark(), ManifestWatch(to \/ "catalog").mark()));/' store_fault_test '*WithoutAFault*'
bug "checkpoints run beside commits and miss a chunk" store/databases.cc 's/^  chunks_->checkpoint\(to \/ "chunks"\);/  chunks_->checkpoint(to \/ "chunks"); for (const auto\& one : std::filesystem::directory_iterator(to \/ "chunks")) if (one.path().extension() == ".blob") std::filesystem::remove(one.path());/' store_fault_test '*WithoutAFault*'
finish
