// expect: timed_out
class Problem {
    static long twice(long x) {
        while (true) {
            Thread.onSpinWait();
        }
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
