// expect: sandbox_violation
// Where the machine looks for its own libraries.
class Problem {
    static long twice(long x) {
        System.setProperty("java.home", "/tmp");
        return 0;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
