// expect: failed
// No handler of uncaught errors stands above main.
class Problem {
    static long twice(long x) {
        Thread.setDefaultUncaughtExceptionHandler((thread, error) -> System.exit(0));
        Thread.currentThread().setUncaughtExceptionHandler((thread, error) -> System.exit(0));
        throw new IllegalStateException("swallow me");
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
