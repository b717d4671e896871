// The memory of the process that forks answers (quick.py), made cheap to fork.
//
// fork() copies an entry for each page of data, the end of the answer drops it again, and both times the kernel counts each page by itself;
// but where neighbours are parts of one huge page it takes a run of them at once. And fork() does not copy the page tables of
// files: every answer finds the interpreter's code unmapped and takes 45 faults of 16 pages until it has what it needs, and its end
// unmaps them again. So the data moves to huge pages, at the same addresses, and as much of the interpreter's code as keeps its place
// on one: there 2 MiB are one entry. (The libraries' code would cost in entries what it saves in faults.) Where the kernel gives
// no huge pages all stays as it was.
//
// An answer's first objects would fill what earlier ones have left free between others: each a page to copy. So that is used up before.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { kHuge = 2 << 20, kRangesMax = 64, kDataMin = 64 << 10, kLineBytes = 512 };
enum { kPoolBytes = 16 << 10, kBlockStep = 16, kBlockMax = 512 };

extern void PyOS_BeforeFork(void);
extern void* PyObject_Malloc(size_t size);
extern void PyObject_Free(void* block);

// The head of a pool, which holds blocks of one size (CPython's pycore_obmalloc.h, from 3.10 on).
struct pool {
  uint32_t used, unused;
  void *free_block, *next, *previous;
  uint32_t arena, size_class;
};

// Until each size of block comes from a pool that nobody has used.
static void fill_pools(void) {
  for (size_t size = kBlockStep; size <= kBlockMax; size += kBlockStep) {
    void* block;
    const struct pool* pool;
    do {
      block = PyObject_Malloc(size);
      if (block == NULL) return;
      pool = (const struct pool*)((uintptr_t)block & ~(uintptr_t)(kPoolBytes - 1));
      if (pool->size_class != size / kBlockStep - 1) return;  // another interpreter's
    } while (pool->used > 1);
    PyObject_Free(block);
  }
}

struct range {
  char* begin;
  size_t size;
  int rights;
};

static int is_worth_it(const struct range* range) {
  return (range->rights & PROT_EXEC) || ((range->rights & PROT_WRITE) && range->size >= kDataMin);
}

// Data, and files' code with the constants beside it, as far as it is worth it.
static int find_ranges(struct range* ranges) {
  FILE* maps = fopen("/proc/self/maps", "re");
  if (maps == NULL) return 0;
  int count = 0;
  char line[kLineBytes], name[kLineBytes], before[kLineBytes] = "";
  struct range range = {NULL, 0, 0};
  while (count < kRangesMax && fgets(line, sizeof line, maps) != NULL) {
    unsigned long low, high;
    char rights[8];
    name[0] = '\0';
    if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %511[^\n]", &low, &high, rights, name) < 3) continue;
    const int is_file = name[0] == '/', can_write = rights[1] == 'w', can_copy = rights[0] == 'r' && rights[3] == 'p';
    const int goes_on = is_file && can_copy && !can_write && range.rights != 0 && !(range.rights & PROT_WRITE) &&
                        range.begin + range.size == (char*)low && strcmp(name, before) == 0;
    if (!goes_on) {
      if (is_worth_it(&range)) ranges[count++] = range;
      range = (struct range){(char*)low, 0, 0};
      strcpy(before, name);
    }
    range.size = high - (uintptr_t)range.begin;
    // Not the stack, and not the kernel's own.
    const int is_ours = is_file || (can_write && (name[0] == '\0' || strcmp(name, "[heap]") == 0));
    if (is_ours && can_copy)
      range.rights |= PROT_READ | (can_write ? PROT_WRITE : 0) | (rights[2] == 'x' ? PROT_EXEC : 0);
  }
  fclose(maps);
  return count;
}

static char* aligned(char* address) {
  return (char*)(((uintptr_t)address + kHuge - 1) & ~(uintptr_t)(kHuge - 1));
}

// Copies the ranges side by side to huge pages, then puts each copy where the range is: one step for the kernel, and the same bytes
// before and after it.
static int move(const struct range* ranges, int count) {
  size_t size = 0;
  for (int i = 0; i < count; ++i) size += ranges[i].size;
  if (size == 0) return 1;
  const size_t whole = (size + kHuge - 1) & ~(size_t)(kHuge - 1);
  char* room = mmap(NULL, whole + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) return 0;
  char *const copies = aligned(room), *copy = copies;
  madvise(copies, whole, MADV_HUGEPAGE);
  for (int i = 0; i < count; copy += ranges[i++].size) memcpy(copy, ranges[i].begin, ranges[i].size);
  // Fails where the kernel has no huge page to give; small ones would cost more than the file's.
  int good = madvise(copies, whole, MADV_COLLAPSE) == 0;
  copy = copies;
  for (int i = 0; good && i < count; copy += ranges[i++].size) {
    const struct range* to = &ranges[i];
    good = mprotect(copy, to->size, to->rights) == 0 &&
           mremap(copy, to->size, to->size, MREMAP_MAYMOVE | MREMAP_FIXED, to->begin) == to->begin;
  }
  munmap(room, whole + kHuge);  // what is left of it
  return good;
}

void quench_settle_memory(void) {
  fill_pools();
  struct range ranges[kRangesMax];
  const int count = find_ranges(ranges);
  char* const inside = (char*)(uintptr_t)&PyOS_BeforeFork;
  int data_count = 0;
  for (int i = 0; i < count; ++i) {
    const struct range range = ranges[i];
    if (range.rights & PROT_WRITE) {
      ranges[data_count++] = range;
    } else if (inside >= range.begin && inside < range.begin + range.size && range.size >= kHuge) {
      char *begin = aligned(range.begin), *end = aligned(range.begin + range.size - kHuge + 1);
      const struct range whole = {begin, begin < end ? (size_t)(end - begin) : 0, range.rights};
      move(&whole, 1);
    }
  }
  move(ranges, data_count);
}
