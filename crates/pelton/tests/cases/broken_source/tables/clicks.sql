select page, count(*) as n from events group by page
