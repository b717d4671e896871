// The interpreter's code on huge pages, for the process that forks answers (quick.py).
//
// fork() does not copy the page tables of files: every answer finds the interpreter's code unmapped and takes 45 faults of 16 pages
// until it has what it needs, and its end unmaps them again. Copied to anonymous huge pages at the same address, 2 MiB are one entry
// that fork() copies. Where the kernel gives no huge pages, or the code spans none, all stays as it was.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { kHuge = 2 << 20, kLineBytes = 512 };

extern void PyOS_BeforeFork(void);

// The bounds of what is mapped around `inside` without a gap from one file, and not to be written.
static void find_text(uintptr_t inside, uintptr_t* begin, uintptr_t* end) {
  FILE* maps = fopen("/proc/self/maps", "re");
  if (maps == NULL) return;
  char line[kLineBytes], file[kLineBytes] = "", of_line[kLineBytes];
  uintptr_t from = 0, to = 0;
  while (fgets(line, sizeof line, maps) != NULL) {
    unsigned long low, high;
    char rights[8];
    of_line[0] = '\0';
    if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %511[^\n]", &low, &high, rights, of_line) < 3) continue;
    const int is_code = of_line[0] == '/' && rights[0] == 'r' && rights[1] == '-';
    if (!is_code || low != to || strcmp(file, of_line) != 0) {
      if (from <= inside && inside < to) break;
      from = low;
      strcpy(file, of_line);
    }
    to = is_code ? high : low;
  }
  fclose(maps);
  if (from <= inside && inside < to) {
    *begin = from;
    *end = to;
  }
}

// How many bytes now are on huge pages.
long quench_enlarge_text(void) {
  uintptr_t begin = 0, end = 0;
  find_text((uintptr_t)&PyOS_BeforeFork, &begin, &end);
  begin = (begin + kHuge - 1) & ~(uintptr_t)(kHuge - 1);
  end &= ~(uintptr_t)(kHuge - 1);
  if (begin >= end) return 0;
  const size_t size = end - begin;
  char* room = mmap(NULL, size + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) return 0;
  char* copy = (char*)(((uintptr_t)room + kHuge - 1) & ~(uintptr_t)(kHuge - 1));
  madvise(copy, size, MADV_HUGEPAGE);
  memcpy(copy, (const void*)begin, size);
  // Fails where the kernel has no huge page to give; small ones would cost more than the file's.
  int good = madvise(copy, size, MADV_COLLAPSE) == 0 && mprotect(copy, size, PROT_READ | PROT_EXEC) == 0;
  // One step for the kernel, and the same code before and after it.
  good = good && mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, (void*)begin) == (void*)begin;
  if (!good) {
    munmap(room, size + kHuge);
    return 0;
  }
  munmap(room, (size_t)(copy - room));
  munmap(copy + size, (size_t)(room + kHuge - copy));
  return (long)size;
}
