// expect: failed
// A hook that turns the status of a failed test into 0.
class Problem {
    static long twice(long x) {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> Runtime.getRuntime().halt(0)));
        return 0;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
