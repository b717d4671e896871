// expect: sandbox_violation
// Method handles reach what reflection may not.
import java.lang.invoke.MethodHandles;

class Problem {
    static long twice(long x) {
        try {
            MethodHandles.Lookup lookup = MethodHandles.privateLookupIn(Class.forName("quench.Runner"), MethodHandles.lookup());
            return lookup.lookupModes();
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
