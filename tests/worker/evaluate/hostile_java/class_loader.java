// expect: sandbox_violation
// A class of its own loader may have any rights.
class Problem {
    static long twice(long x) {
        new ClassLoader() {}.clearAssertionStatus();
        return 0;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
