// expect: timed_out
// Uses no CPU time.
class Problem {
    static long twice(long x) {
        while (true) {
            try {
                Thread.sleep(1000);
            } catch (InterruptedException again) {
                continue;
            }
        }
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
