select grp, max(most) as most from activity group by grp
